// Reads and verifies a ticket code on a device, as src/tickets/code.rs and live.rs do, and a supervisor's card, as src/entry/overrides/card.rs does; held to
// tests/vectors/ticket-codes.json and presented-codes.json.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PREFIX = "G1";
const LENGTH = 143;
/** Kind 1 (ticket) and 4 (add-on without a pass), version 1. */
const KINDS = { 0x11: "pass", 0x41: "add_on" };
const DOMAIN = new TextEncoder().encode("gatefold-ticket-v1\0");

/** The bytes of RFC 4648 base32 in upper case, without padding and with zero trailing bits; null for anything else. */
const base32 = (text) => {
  const bytes = [];
  let [bits, held] = [0, 0];
  for (const letter of text) {
    const five = ALPHABET.indexOf(letter);
    if (five < 0) return null;
    bits = (bits << 5) | five;
    held += 5;
    if (held >= 8) {
      held -= 8;
      bytes.push(bits >> held);
      bits &= (1 << held) - 1;
    }
  }
  return bits === 0 ? new Uint8Array(bytes) : null;
};

/** A live code (src/tickets/live.rs): a certificate, the seconds at which the phone made it, and the phone's signature. */
const LIVE = { prefix: "G2", length: 303, certificate: 120, kind: 0x21, body: 56, domain: new TextEncoder().encode("gatefold-live-v1\0"), shown: new TextEncoder().encode("gatefold-show-v1\0") };
/** How far its seconds may be from ours, either way; and how old it may be where a scan answers for an earlier one of it. */
const SECONDS = 30;
const ANSWER_SECONDS = 15 * 60;

const bare = (text, { prefix, length }, size) => {
  const bytes = text.length === length && text.startsWith(prefix) ? base32(text.slice(prefix.length)) : null;
  return bytes?.length === size ? bytes : null;
};

/** What a text says, and its signed bytes; null where it is no code of ours. */
export const parse = (text) => {
  const live = bare(text, LIVE, 188);
  if (live && live[0] !== LIVE.kind) return null;
  const bytes = live ? Uint8Array.of(0x11, ...live.slice(1, 24), ...live.slice(LIVE.body, LIVE.certificate)) : bare(text, { prefix: PREFIX, length: LENGTH }, 88);
  if (!bytes || (live && bytes[19] !== 1)) return null;
  const [body, signature] = [bytes.slice(0, 24), bytes.slice(24)];
  const kind = KINDS[body[0]];
  if (!kind || body[19] & 0xfe) return null;
  const view = new DataView(body.buffer);
  return {
    kind,
    key_id: body[1],
    festival_id: view.getUint32(2),
    number: view.getBigUint64(6),
    pass_number: view.getUint16(14),
    day_mask: view.getUint16(16),
    generation: body[18],
    is_live: body[19] === 1,
    not_after: view.getUint32(20),
    signed: live ? [...LIVE.domain, ...live.slice(0, LIVE.body)] : [...DOMAIN, ...body],
    signature,
    // What the phone made, where it is live.
    phone: live && { key: live.slice(24, LIVE.body), certificate: live.slice(0, LIVE.certificate), at: new DataView(live.buffer).getUint32(LIVE.certificate), seconds: live.slice(LIVE.certificate, 124), signature: live.slice(124) },
  };
};

/** What stays the same of a code that is made anew every fifteen seconds. */
export const identity = (text) => (text.startsWith(LIVE.prefix) && text.length === LIVE.length ? text.slice(0, 2 + (LIVE.certificate * 8) / 5) : text);

/**
 * Whether the phone that a ticket is bound to made a code just now. `seenAt`: when this device scanned it first, where another scan answers for that one;
 * staff looked at a document since then, or called a supervisor.
 */
export const isLive = ({ phone }, at, seenAt = at) => {
  const age = (moment) => (phone ? Math.floor(moment / 1000) - phone.at : Infinity);
  return Math.abs(age(seenAt)) <= SECONDS && age(at) <= (seenAt === at ? SECONDS : ANSWER_SECONDS);
};

/** Whether a phone's signature over what it shows is right; its key is vouched for by the certificate. */
const isShown = async ({ key, certificate, seconds, signature }) => {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", certificate));
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]).catch(() => null);
  return imported && crypto.subtle.verify("Ed25519", imported, signature, new Uint8Array([...LIVE.shown, ...digest, ...seconds]));
};

/** The public half of a key of the pack, as WebCrypto wants it; null where this browser has no Ed25519 (then the list decides alone). */
export const importKey = async (key) => {
  const raw = Uint8Array.from(atob(key.public_key), (c) => c.charCodeAt(0));
  try {
    return await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  } catch {
    return null;
  }
};

/**
 * Verifies a text, of a picture or made by a phone, at a festival: { code } or { reason }. `keys` are those of the pack, each with `imported`. Where a browser has no Ed25519 the
 * answer carries `unverified: true`: only a ticket that is on the list may come in then.
 */
export const verify = async (text, festival, keys) => {
  const code = parse(text);
  if (!code || code.festival_id > 0x7fffffff) return { reason: "unknown" };
  if (code.festival_id !== festival) return { reason: "wrong_festival" };
  const key = keys.find((k) => k.key_id === code.key_id);
  if (!key) return { reason: "forged" };
  if (key.imported) {
    if (!(await crypto.subtle.verify("Ed25519", key.imported, code.signature, new Uint8Array(code.signed)))) return { reason: "forged" };
    if (code.phone && !(await isShown(code.phone))) return { reason: "forged" };
  }
  if (key.state === "revoked") return { reason: "key_retired" };
  if (key.state === "pending") return { reason: "forged" };
  return key.imported ? { code } : { code, unverified: true };
};

/** Opens a box that is sealed under a code (src/entry/pack.rs): { name, note }; null where this code does not open it. */
export const unseal = async (box, signature) => {
  try {
    const carried = await crypto.subtle.importKey("raw", signature, "HKDF", false, ["deriveKey"]);
    const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: new TextEncoder().encode("gatefold-sealed-v1") };
    const key = await crypto.subtle.deriveKey(how, carried, { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
    const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv: box.slice(0, 12) }, key, box.slice(12));
    return JSON.parse(new TextDecoder().decode(plain));
  } catch {
    return null;
  }
};

/** The code of a clearing (src/entry/incident/code.rs). */
const CLEARING = { prefix: "G5", length: 178, kind: 0x51, body: 46, domain: new TextEncoder().encode("gatefold-clear-v1\0") };

/** Whether a text looks like the code of a clearing. */
export const isClearing = (text) => text.startsWith(CLEARING.prefix) && text.length === CLEARING.length;

/** The body of a signed text at a festival, with its view and the state of its key; null where it says nothing. */
const opened = async (text, spec, festival, keys) => {
  const bytes = bare(text, spec, spec.body + 64);
  if (bytes?.[0] !== spec.kind) return null;
  const body = bytes.slice(0, spec.body);
  const view = new DataView(body.buffer);
  const key = keys.find((k) => k.key_id === body[1]);
  if (view.getUint32(2) !== festival || !key?.imported) return null;
  const signed = new Uint8Array([...spec.domain, ...body]);
  return (await crypto.subtle.verify("Ed25519", key.imported, bytes.slice(spec.body), signed)) ? { body, view, state: key.state } : null;
};

/**
 * Verifies the code of a clearing at a festival: { clearing_id, zone_id, clears_at, readmits_until }, moments as texts; null where it says nothing. Only the
 * key of now counts: one that was rotated may have leaked.
 */
export const verifyClearing = async (text, festival, keys) => {
  const { body, view, state } = (await opened(text, CLEARING, festival, keys)) ?? {};
  if (state !== "active") return null;
  const uuid = (at) => [...body.slice(at, at + 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  const moment = (at) => (view.getUint32(at) ? new Date(view.getUint32(at) * 1000).toISOString() : null);
  const zone_id = body.slice(22, 38).some((byte) => byte) ? uuid(22) : null;
  return { clearing_id: uuid(6), zone_id, clears_at: moment(38), readmits_until: moment(42) };
};

const CARD = { prefix: "G3", length: 137, kind: 0x31, body: 20, domain: new TextEncoder().encode("gatefold-card-v1\0"), early: 6 * 3_600_000 };

/** Whether a text looks like a supervisor's card. */
export const isCard = (text) => text.startsWith(CARD.prefix) && text.length === CARD.length;

/**
 * Verifies a supervisor's card at a festival and a moment: { number, day_index, overrides }, or null where it opens nothing. `rules` are those of the
 * pack. A browser without Ed25519 verifies none: there the server has to.
 */
export const verifyCard = async (text, festival, keys, rules, at) => {
  const { body, view, state } = (await opened(text, CARD, festival, keys)) ?? {};
  if (state !== "active" && state !== "verify_only") return null;
  const card = { number: view.getBigUint64(6).toString(16).padStart(16, "0"), day_index: body[14], overrides: body[15] };
  const day = rules.days.find((one) => one.day_index === card.day_index);
  const isToday = day && Date.parse(day.opens_at) - CARD.early <= at && at < Date.parse(day.closes_at);
  return isToday && !(rules.revoked_cards ?? []).includes(card.number) ? card : null;
};
