// The digest of a phone's list after a pack and its deltas: `node digest.mjs <module> <pack>...`.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [module, ...packs] = process.argv.slice(2);
const { Pack, read } = await import(`data:text/javascript,${encodeURIComponent(readFileSync(module, "utf8"))}`);
const pack = new Pack();
for (const file of packs) {
  const bytes = readFileSync(file);
  pack.take(read(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
}
console.log(JSON.stringify({ digest: createHash("sha256").update(pack.records()).digest("hex"), size: pack.size }));
