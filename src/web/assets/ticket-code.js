// What a phone shows for a ticket that is bound to it (src/tickets/live.rs, 10-rules 28): the text of a live code, and its QR picture. Pure.
//
// The picture is QR version 10, level M, alphanumeric (ISO/IEC 18004:2015): 57 modules a side; 216 bytes of data in four blocks of 43 and one of 44, each
// with 26 bytes of error correction.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SHOWN = new TextEncoder().encode("gatefold-show-v1\0");
const BOUND = new TextEncoder().encode("gatefold-bind-v1\0");

/** RFC 4648 base32 in upper case, without padding. */
const base32 = (bytes) => {
  let [text, held, bits] = ["", 0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return bits ? text + ALPHABET[(held << (5 - bits)) & 31] : text;
};

/** The text of a live code at a moment in seconds of Unix time; `sign` is that of the phone. */
export const liveCode = async (certificate, seconds, sign) => {
  const at = new Uint8Array(4);
  new DataView(at.buffer).setUint32(0, seconds);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", certificate));
  return `G2${base32([...certificate, ...at, ...(await sign(Uint8Array.from([...SHOWN, ...digest, ...at])))])}`;
};

/** What a phone signs to have a ticket bound to its key. */
export const bindingOf = (ticketId, key) => Uint8Array.from([...BOUND, ...ticketId.replaceAll("-", "").match(/../g).map((two) => Number.parseInt(two, 16)), ...key]);

const SIDE = 57;
const QUIET = 4;
const BLOCKS = [43, 43, 43, 43, 44];
const CORRECTION = 26;
const DATA = 216;
const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/** Powers and logarithms of the field of 256 elements over x⁸ + x⁴ + x³ + x² + 1. */
const EXP = [];
const LOG = [];
for (let i = 0, x = 1; i < 255; i++) {
  EXP[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 128 ? 0x11d : 0);
}
const times = (a, b) => (a && b ? EXP[(LOG[a] + LOG[b]) % 255] : 0);

/** The coefficients below the first of (x - 1)(x - 2)(x - 4)…, which divides what is sent. */
const GENERATOR = Array.from({ length: CORRECTION }).reduce((poly, _, i) => [...poly, 0].map((c, k) => c ^ times(poly[k - 1] ?? 0, EXP[i])), [1]).slice(1);

const correction = (block) => {
  const rest = new Array(CORRECTION).fill(0);
  for (const byte of block) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    GENERATOR.forEach((c, i) => (rest[i] ^= times(c, factor)));
  }
  return rest;
};

/** The bytes of data: mode, length, two letters in eleven bits each, an end, and filling. */
const dataOf = (text) => {
  const bits = [];
  const put = (value, width) => {
    for (let i = width - 1; i >= 0; i--) bits.push((value >> i) & 1);
  };
  put(2, 4);
  put(text.length, 11);
  for (let i = 0; i < text.length; i += 2) {
    const [a, b] = [LETTERS.indexOf(text[i]), LETTERS.indexOf(text[i + 1])];
    if (i + 1 < text.length) put(a * 45 + b, 11);
    else put(a, 6);
  }
  if (bits.length > DATA * 8) throw new RangeError("too long for version 10-M");
  put(0, Math.min(4, DATA * 8 - bits.length));
  put(0, -bits.length & 7);
  for (let fill = 0xec; bits.length < DATA * 8; fill ^= 0xec ^ 0x11) put(fill, 8);
  return Array.from({ length: DATA }, (_, i) => bits.slice(i * 8, i * 8 + 8).reduce((byte, bit) => byte * 2 + bit, 0));
};

/** What is sent: the blocks byte by byte in turns, then their correction. */
const sent = (data) => {
  let at = 0;
  const blocks = BLOCKS.map((length) => data.slice(at, (at += length)));
  const inTurns = (rows) => Array.from({ length: Math.max(...rows.map((row) => row.length)) }, (_, i) => rows.map((row) => row[i]).filter((byte) => byte !== undefined)).flat();
  return [...inTurns(blocks), ...inTurns(blocks.map(correction))];
};

/** A number with the rest that it leaves of a divisor behind it (BCH). */
const checked = (value, bits, divisor) => {
  let rest = value << bits;
  for (let top = 31 - Math.clz32(rest); top >= bits; top = 31 - Math.clz32(rest)) rest ^= divisor << (top - bits);
  return (value << bits) | rest;
};

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => ((y >> 1) + Math.floor(x / 3)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** The patterns that are the same in every picture of this version: finders, timing, alignment, version; and where the format goes. */
const frame = () => {
  const dark = Array.from({ length: SIDE }, () => new Array(SIDE).fill(null));
  const square = (cx, cy, rings) => {
    for (let dy = -rings.length + 1; dy < rings.length; dy++) {
      for (let dx = -rings.length + 1; dx < rings.length; dx++) {
        if (dark[cy + dy]?.[cx + dx] !== undefined) dark[cy + dy][cx + dx] = rings[Math.max(Math.abs(dx), Math.abs(dy))];
      }
    }
  };
  for (let i = 0; i < SIDE; i++) dark[6][i] = dark[i][6] = 1 - (i % 2);
  for (const [x, y] of [[3, 3], [SIDE - 4, 3], [3, SIDE - 4]]) square(x, y, [1, 1, 0, 1, 0]);
  const centers = [6, 28, 50];
  for (const x of centers) for (const y of centers) if (!(x === 6 && y === 6) && !(x === 6 && y === 50) && !(x === 50 && y === 6)) square(x, y, [1, 0, 1]);
  const version = checked(10, 12, 0x1f25);
  for (let i = 0; i < 18; i++) dark[Math.floor(i / 3)][SIDE - 11 + (i % 3)] = dark[SIDE - 11 + (i % 3)][Math.floor(i / 3)] = (version >> i) & 1;
  write(dark, 0);
  return dark;
};

/** Writes level M and a mask around the finders. */
const write = (dark, mask) => {
  const format = checked(mask, 10, 0x537) ^ 0x5412;
  const bit = (i) => (format >> i) & 1;
  for (let i = 0; i < 15; i++) {
    // Around the first finder, past the timing; and along the two others.
    const [x, y] = i < 8 ? [8, i + (i > 5)] : [14 - i + (i < 9), 8];
    dark[y][x] = bit(i);
    if (i < 8) dark[8][SIDE - 1 - i] = bit(i);
    else dark[SIDE - 15 + i][8] = bit(i);
  }
  dark[SIDE - 8][8] = 1;
};

/** How hard a picture is to read: runs, blocks, what looks like a finder, and how far it is from half dark. */
const penalty = (dark) => {
  let [sum, count] = [0, 0];
  const lines = [...dark, ...dark.map((_, x) => dark.map((row) => row[x]))];
  for (const line of lines) {
    const text = line.join("");
    for (const [run] of text.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    for (let i = 0; i + 11 <= SIDE; i++) if (["10111010000", "00001011101"].includes(text.slice(i, i + 11))) sum += 40;
  }
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      count += dark[y][x];
      if (y && x && dark[y][x] === dark[y - 1][x] && dark[y][x] === dark[y][x - 1] && dark[y][x] === dark[y - 1][x - 1]) sum += 3;
    }
  }
  return sum + 10 * Math.floor(Math.abs((count * 100) / SIDE ** 2 - 50) / 5);
};

const EMPTY = frame();

/** The modules of a text as rows of 0 and 1. */
export const modules = (text) => {
  const bytes = sent(dataOf(text));
  const masked = MASKS.map((mask, number) => {
    const dark = EMPTY.map((row) => [...row]);
    let at = 0;
    // Two columns at a time, from the right, up and down; not through the timing.
    for (let right = SIDE - 1, up = true; right > 0; right -= 2, up = !up) {
      if (right === 6) right -= 1;
      for (let i = 0; i < SIDE; i++) {
        const y = up ? SIDE - 1 - i : i;
        for (const x of [right, right - 1]) {
          if (EMPTY[y][x] !== null) continue;
          dark[y][x] = ((bytes[at >> 3] >> (7 - (at & 7))) & 1) ^ (mask(x, y) === 0 ? 1 : 0);
          at += 1;
        }
      }
    }
    write(dark, number);
    return dark;
  });
  return masked.map((dark) => [penalty(dark), dark]).reduce((best, one) => (one[0] < best[0] ? one : best))[1];
};

/** The side of the picture's view box, and the path of its dark modules: rows of runs, in four modules of quiet. */
export const picture = (text) => {
  const runs = modules(text).flatMap((row, y) => [...row.join("").matchAll(/1+/g)].map((run) => `M${run.index + QUIET} ${y + QUIET}h${run[0].length}v1h-${run[0].length}z`));
  return { side: SIDE + 2 * QUIET, path: runs.join("") };
};
