// A worker that reads QR codes in pictures of the camera, by zxing-wasm, where the browser has no reader of its own.

importScripts("/assets/scanner/reader.js");

const overrides = { locateFile: () => "/assets/scanner/reader.wasm" };
ZXingWASM.prepareZXingModule({ overrides, fireImmediately: true }).then(
  () => postMessage({ ready: true }),
  () => postMessage({ ready: false }),
);

onmessage = async ({ data }) => {
  try {
    const found = await ZXingWASM.readBarcodes(data, { formats: ["QRCode"], maxNumberOfSymbols: 1, tryHarder: true });
    postMessage({ code: found.find((one) => one.isValid)?.text ?? null });
  } catch {
    postMessage({ code: null });
  }
};
