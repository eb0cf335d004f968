// A worker that reads QR codes, and the barcodes of wristbands where those are wanted, in pictures of the camera, by zxing-wasm, where the browser has no reader of its own.

importScripts("/assets/scanner/reader.js");

const overrides = { locateFile: () => "/assets/scanner/reader.wasm" };
ZXingWASM.prepareZXingModule({ overrides, fireImmediately: true }).then(
  () => postMessage({ ready: true }),
  () => postMessage({ ready: false }),
);

const BARS = ["QRCode", "DataMatrix", "Code128", "Code39", "EAN-13"];

onmessage = async ({ data: { frame, isWide } }) => {
  try {
    const found = await ZXingWASM.readBarcodes(frame, { formats: isWide ? BARS : ["QRCode"], maxNumberOfSymbols: 1, tryHarder: true });
    postMessage({ code: found.find((one) => one.isValid)?.text ?? null });
  } catch {
    postMessage({ code: null });
  }
};
