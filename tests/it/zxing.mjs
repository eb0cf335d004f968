// What zxing-wasm reads in pictures, as JSON: `node zxing.mjs <folder of the reader> <picture>...`.
import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const [, , folder, ...pictures] = process.argv;
runInThisContext(`${readFileSync(`${folder}/reader.js`)}; globalThis.ZXingWASM = ZXingWASM;`);
const overrides = { wasmBinary: readFileSync(`${folder}/reader.wasm`).buffer };
await ZXingWASM.prepareZXingModule({ overrides, fireImmediately: true });
const read = [];
for (const picture of pictures) {
  const found = await ZXingWASM.readBarcodes(new Uint8Array(readFileSync(picture)), { formats: ["QRCode"], maxNumberOfSymbols: 1, tryHarder: true });
  read.push(found.find((one) => one.isValid)?.text ?? null);
}
console.log(JSON.stringify(read));
