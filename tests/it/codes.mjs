// Holds the device's reader of codes to the vectors: `node codes.mjs <folder of vectors> <module>`; prints what differs.
import { readFileSync } from "node:fs";

const [folder, module] = process.argv.slice(2);
const { importKey, isLive, verify } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(module, "utf8"))}`);
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const different = [];

const { festival, keys, cases, moments } = read("presented-codes");
for (const key of keys) key.imported = await importKey(key);
if (keys.some((key) => !key.imported)) different.push("this browser has no Ed25519");
for (const { name, text, expected, live_at } of cases) {
  const { code, reason } = await verify(text, festival, keys);
  const found = code ? "ok" : reason;
  if (found !== expected) different.push(`${name}: ${found}, not ${expected}`);
  if (code && code.phone?.at !== live_at) different.push(`${name}: made at ${code.phone?.at}, not ${live_at}`);
}
const live = (await verify(cases.find((one) => one.live_at).text, festival, keys)).code;
for (const { age, seen_age, is_live } of moments) {
  const at = (seconds) => (live.phone.at + seconds) * 1000;
  const found = seen_age === undefined ? isLive(live, at(age)) : isLive(live, at(age), at(seen_age));
  if (found !== is_live) different.push(`a live code of ${age} seconds, first seen at ${seen_age}: ${found}`);
}
if (isLive((await verify(cases[0].text, festival, keys)).code, Date.now(), false)) different.push("a picture is live");
// A browser without Ed25519 says so of every code that it would have verified, and finds the rest all the same.
const unable = keys.map((key) => ({ ...key, imported: null }));
for (const { name, text, expected } of cases) {
  const { code, reason, unverified } = await verify(text, festival, unable);
  const fits = expected === "ok" ? code && unverified : expected === "forged" ? unverified || reason : reason === expected;
  if (!fits) different.push(`${name}, without Ed25519: ${reason}`);
}

const codes = read("ticket-codes").codes;
for (const { text, number, ...expected } of codes) {
  const { code } = await verify(text, festival, keys);
  const found = { ...code, add_on: code?.kind === "add_on" };
  if (code?.number !== BigInt(`0x${number}`)) different.push(`${number}: ${code?.number}`);
  for (const field of ["pass_number", "day_mask", "generation", "not_after", "add_on"]) {
    if (found[field] !== expected[field]) different.push(`${number}: ${field} is ${found[field]}, not ${expected[field]}`);
  }
}
console.log(different.length ? different.join("\n") : `${cases.length + codes.length} codes`);
process.exitCode = different.length ? 1 : 0;
