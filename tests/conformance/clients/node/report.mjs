// One line of JSON for each feature that was tried: {client, feature, ok, detail}.
export const url = process.env.PENSTOCK_URL;
export const key = process.env.PENSTOCK_KEY;
export const model = process.env.PENSTOCK_MODEL ?? "small";

export function check(truth, what) {
  if (!truth) throw new Error(what);
}

export async function feature(client, name, run) {
  let clock;
  const late = new Promise((_, refuse) => {
    clock = setTimeout(() => refuse(new Error("no end within 180 s")), 180_000);
  });
  try {
    await Promise.race([run(), late]);
    console.log(JSON.stringify({ client, feature: name, ok: true, detail: "" }));
  } catch (error) {
    const detail = String(error?.message ?? error).slice(0, 300);
    console.log(JSON.stringify({ client, feature: name, ok: false, detail }));
  } finally {
    clearTimeout(clock);
  }
}
