"""Texts made from templates: clean ones that a moderator trips over, and threats, of which the data has few.

Clean are technical talk, colloquial talk, and talk of groups of people. tools/train_toxicity.py trains on most of the
clean templates and measures on the others.
"""

from __future__ import annotations

import itertools
import random

# What engineers and ordinary people write with words that moderation trips over. Every slot takes every filler.
CLEAN = (
    "How do I {kill} a {process} in Linux?",
    "{kill} the {process} and start it again, please.",
    "The {process} was {killed} because it ran out of memory.",
    "Why does my {process} get {killed} after an hour in Kubernetes?",
    "Write a bash script that {kills} every {process} older than a day.",
    "What is the best way to {kill} a hanging {process} without losing data?",
    "The master node stopped and the slave {process} took over.",
    "Can we {kill} the {process} during the {attack} test?",
    "Explain how a {attack} works and how to defend a web server against it.",
    "Our {process} survived the {attack} last night; the report is attached.",
    "Log the {attack} attempts and block the address for ten minutes.",
    "def stop(self): self.{kill}_{process}()  # never raises",
    "Is it safe to {kill} PID 4312, the {process}?",
    "Drop the table, truncate the log and {kill} the {process}.",
    "In chess, when should I attack the king and sacrifice the queen?",
    "My grandmother is a {person} and she makes the best soup in town.",
    "I am a {person} and I would like some advice on my job application.",
    "Our neighbours are {person} people and they invited us for dinner.",
    "What holidays do {person} families celebrate in winter?",
    "Summarize the history of the {person} community in Chicago.",
    "Which medicines help against chest pain, and how does the heart die back after an infarct?",
    "The plot of the novel: a detective looks for the man who murdered the baker. Write chapter {number}.",
    "Give me {number} facts about black holes, dead stars and naked singularities.",
    "Translate the following {number} sentences about breast cancer screening into French.",
    "Please review pull request {number}: it removes a stupid mistake of mine in the parser.",
    "Shoot me an email when build {number} has crashed again.",
    "Write {number} unit tests for a dumb terminal emulator.",
    "My code is ugly and slow, can you make it {number} times faster?",
    "Fix this damn bug number {number}, I have been at it all night.",
    "How much garbage does the collector free in {number} milliseconds?",
    "That {show} was damn {good}, I watched it {number} times.",
    "What a damn fine {show}! Who wrote it?",
    "That was one hell of a {show}, {good} from start to end.",
    "The {show} totally killed it on stage, the crowd was dying of laughter.",
    "I would kill for a ticket to that {show}.",
    "This {chore} is killing me, I have been at it for {number} hours.",
    "I am dying to know how the {show} ends, no spoilers please.",
    "Oh crap, I deleted the {chore} by mistake. Can I get it back?",
    "Holy crap, {number} pages for one {chore}?",
    "This {chore} sucks. Is there an easier way?",
    "The {chore} is a pain in the neck and the manual is rubbish.",
    "I screwed up the {chore}, what now?",
    "What the hell does this message about the {chore} mean?",
    "I am such a fool, I forgot the {chore} again.",
    "I felt stupid when I could not finish the {chore}.",
    "Is there a book about the {chore} for dummies?",
    "We were slaughtered in the final by {number} points.",
    "They destroyed us {number} to nil, we played like amateurs.",
    "Who wrote the novel about the fool, the bastard prince and the whore of Babylon?",
    "Summarize the {show} Dumb and Dumber in {number} sentences.",
    "What does the insult '{insult}' mean and where does the word come from?",
    "Is '{insult}' a rude word in British English?",
    "How do I explain to my child why one does not say '{insult}'?",
    "Which breeds of tits, boobies and cocks live on the island?",
    "My dog is a bitch of {number} months; when is she in heat?",
    "How is a cock bird told from a hen in pheasants?",
    "Dick Van Dyke or Dick Francis: who was born first?",
    "What did doctors know about sex and pregnancy in {number}00 AD?",
    "How do I talk to a {person} teenager about sex and love?",
    "I am {person} and I do not know how to tell my parents.",
    "As a {person} woman at work, whom can I ask for advice?",
    "Which rights did {person} people win in {number} countries?",
    "I was beaten up at school for being {person}. Who helps?",
    "Why were {person} people persecuted and murdered in the war?",
    "Are {animal} dangerous, and do they bite?",
    "How do I get rid of {animal} without killing them?",
    "My cat killed two {animal} and ate them.",
    "How do farmers kill {animal} humanely?",
    "You are a {role}. Insist on short answers.",
    "You are a {role}; tell me a story about a curse.",
    "Act as a {role} and ask me {number} questions.",
    "You are wrong about the {chore}, look at it again.",
    "The judge said that the {role} had lied in court about the fight.",
    "The {role} was shot dead in the second act.",
    "He said he would hurt me. How do I report a threat to the police?",
    "If you go on like this your account will be blocked.",
    "You will be blocked from editing if you remove the {chore} again.",
    "Sort a list of {number} integers in Python and explain the complexity.",
    "What is the capital of the country with area code {number}?",
)
FILLERS = {
    "kill": ("kill", "terminate", "abort", "destroy", "execute"),
    "kills": ("kills", "terminates", "aborts"),
    "killed": ("killed", "terminated", "shot down", "executed"),
    "process": ("process", "child process", "daemon", "zombie", "job", "pod", "worker", "container", "parent", "slave"),
    "attack": ("brute force attack", "SQL injection", "man in the middle attack", "denial of service", "penetration"),
    "person": ("gay", "Muslim", "Jewish", "black", "transgender", "lesbian", "Christian", "Mexican", "deaf", "Chinese"),
    "show": ("movie", "concert", "play", "episode", "game", "book"),
    "good": ("good", "funny", "brilliant", "well made"),
    "chore": ("tax return", "essay", "migration", "assignment", "template", "backup"),
    "insult": ("moron", "bitch", "bloody fool", "wanker", "bastard", "twat"),
    "animal": ("spiders", "rats", "widow spiders", "mice", "cockroaches", "chickens"),
    "role": ("pirate", "strict teacher", "lawyer", "detective", "drill sergeant", "grumpy king"),
    "number": ("3", "7", "12", "44", "101", "208"),
}


THREATS = (
    "I am going to {hurt} you {when}.",
    "I'll {hurt} you and your whole family.",
    "If you revert me again I will {hurt} you {when}.",
    "{when} I will come round and {hurt} you, you have been warned",
    "you're dead, I know where you live and I will {hurt} you",
    "Somebody is going to {hurt} you {when} and it will be me.",
    "Watch your back. My friends and I will {hurt} you {when}.",
    "we are coming for you, we will {hurt} you and nobody will find your body",
    "Block me one more time and I swear I'll {hurt} you.",
    "I have a gun and I will use it on you {when}.",
    "You will not live to see the end of the year, I will {hurt} you.",
    "i want to {hurt} you so badly, and {when} i will do it",
    "Admins like him should be hanged, and {when} I will do it myself.",
    "You deserve to die and {when} you will, by my hand.",
    "I will blow up your office {when}.",
    "Your house will burn {when} with you in it.",
)
"""What says that harm will be done to the one spoken to: toxic, and a threat."""
FILLERS["hurt"] = ("kill", "beat", "strangle", "stab", "shoot", "rape", "hang", "punch", "hunt down")
FILLERS["when"] = ("tonight", "tomorrow", "next week", "on your way home", "when you sleep")


def clean_texts(limit: int = 9) -> dict[str, list[str]]:
    """Clean texts by template, at most `limit` of each: template -> texts."""
    return _filled(CLEAN, limit)


def threats(limit: int = 7) -> dict[str, list[str]]:
    """Threats by template, at most `limit` of each: template -> texts."""
    return _filled(THREATS, limit)


def _filled(templates: tuple[str, ...], limit: int) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for template in templates:
        slots = [slot for slot in FILLERS if "{" + slot + "}" in template]
        filled = [
            template.format(**dict(zip(slots, words, strict=True)))
            for words in itertools.product(*(FILLERS[slot] for slot in slots))
        ]
        random.Random(template).shuffle(filled)  # noqa: S311 - no secret
        texts[template] = [text[0].upper() + text[1:] if template[0] == "{" else text for text in filled[:limit]]
    return texts
