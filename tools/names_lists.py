"""Lists that tools/names_text.py chooses from: countries, forms of address, peoples, places, firms."""

from __future__ import annotations


def _list(text: str, gap: str = " ") -> list[str]:
    return text.split(gap)


LOCALES = _list(
    "en_US en_US en_US en_US en_GB en_CA en_AU en_IE en_NZ en_IN de_DE de_AT de_CH fr_FR fr_CH es_ES es_MX "
    "es_CO it_IT pt_BR pt_PT nl_NL "
    "nl_BE pl_PL cs_CZ sk_SK hu_HU sv_SE da_DK no_NO fi_FI et_EE lt_LT lv_LV ro_RO hr_HR sl_SI tr_TR id_ID "
    "vi_VN tl_PH az_AZ ru_RU el_GR bg_BG ig_NG yo_NG ha_NG tw_GH zu_ZA is_IS sq_AL uz_UZ"
)
PREFIXES = _list("Mr. Mrs. Ms. Miss Dr. Prof. Mr Mrs Ms Dr Sir Madam Mx. Professor Rev. Fr. Judge Sgt. Lady Lord")
PEOPLES = _list(
    "American British German French Italian Spanish Polish Turkish Greek Dutch Belgian Swiss Austrian Swedish Danish "
    "Norwegian Finnish Russian Ukrainian Czech Slovak Hungarian Romanian Bulgarian Croatian Serbian Irish Scottish "
    "Welsh English Portuguese Brazilian Mexican Canadian Australian Indian Pakistani Chinese Japanese Korean "
    "Vietnamese Thai Indonesian Filipino Egyptian Moroccan Algerian Nigerian Kenyan Ethiopian Ghanaian "
    "Israeli Iranian Iraqi Syrian "
    "Lebanese Saudi Afghan Jewish Muslim Christian Catholic Hindu Buddhist Sikh Protestant Arab Kurdish "
    "African-American Latino Hispanic Asian European Argentinian Chilean Peruvian Colombian Cuban Haitian "
    "Jamaican Icelandic Estonian Latvian Lithuanian Georgian Armenian Democrat Republican Socialist "
    "Malaysian Bolivian Tunisian Samoan Congolese"
)
PLACES = _list(
    "Lake Geneva|the Alps|Mount Everest|the Rhine|Manhattan|Brooklyn|Hollywood|the Sahara|Bavaria|Tuscany|Andalusia|"
    "Central Park|Heathrow|the Mediterranean|Silicon Valley|Siberia|Catalonia|Scotland|the Bronx|Times Square|Africa|"
    "Asia|Europe|South America|New England|the Midwest|Hawaii|Crete|Sicily|Bali|Normandy|the Balkans|Punjab|Hong Kong",
    "|",
)
FIRMS = _list(
    "Google|Amazon|Siemens|Toyota|Volkswagen|Ford|General Electric|Nestle|Sony|Intel|the World Bank|the United Nations|"
    "NASA|FedEx|Lufthansa|Ryanair|British Airways|Harvard University|MIT|Stanford|Oxford University|Real Madrid|IKEA|"
    "Walmart|Costco|Goldman Sachs|Deutsche Bank|HSBC|Pfizer|Bayer|the Red Cross|Greenpeace|the BBC|Reuters|CNN|Netflix|"
    "Spotify|Bosch|Philips|Shell|Exxon|Boeing|Airbus|Tesla|Uber|Airbnb|the Ministry of Health|the European Union|"
    "Oracle|Cisco|Dell|Accenture|Deloitte|Verizon|Vodafone|Telefonica|Santander|Zara|the FBI|"
    "the Supreme Court|Universal Records",
    "|",
)
PARTS = _list(
    "data health smart open bright blue green cloud care bio market link trans soft net core inno vita geo city home "
    "job map lab space pro star peak river north agro fin med edu solar quick true auto micro tele"
)
ENDS = _list("ly ify base hub works sense point ware logic scape wise mind stack path view share box trade book line")
KINDS = _list(
    "Inc.|Ltd.|LLC|GmbH|AG|Group|and Sons|PLC|Corp.|Systems|Labs|Partners|Foundation|Institute|Media|Technologies|"
    "Solutions|Services|University|Bank|Hospital|Airlines|Records|Health|Analytics|Insurance|Networks|Energy",
    "|",
)
MONTHS = _list("January February March April May June July August September October November December")
DAYS = _list("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
