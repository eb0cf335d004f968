// The camera of a gate phone, and who reads its pictures: the browser itself, zxing-wasm in a worker, or the server.

/** How many pixels a picture has at most, wide or high. */
const SIDE = 960;
/** What wristbands carry, and tickets. */
const BARS = ["qr_code", "data_matrix", "code_128", "code_39", "ean_13"];

export class Camera {
  #facing = "environment";
  #track = null;
  #canvas = document.createElement("canvas");

  /** `hasLibrary`: whether the house has the library that reads pictures. */
  constructor(video, hasLibrary) {
    this.video = video;
    this.hasLibrary = hasLibrary;
  }

  /** Looks; what this camera can: { torch, zoom }, and how many there are. Throws where there is none, or it is not allowed. */
  async look() {
    this.close();
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: this.#facing, width: { ideal: 1280 } } });
    this.video.srcObject = stream;
    await this.video.play();
    [this.#track] = stream.getVideoTracks();
    const { torch, zoom } = this.#track.getCapabilities?.() ?? {};
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput").length;
    return { torch, zoom, cameras };
  }

  close() {
    this.#track?.stop();
    this.#track = null;
  }

  /** Wishes for something that the camera can; whether it did. */
  set(wish) {
    return this.#track?.applyConstraints({ advanced: [wish] }).then(() => true, () => false);
  }

  /** The other camera is looked through from the next look on. */
  turn() {
    this.#facing = this.#facing === "environment" ? "user" : "environment";
  }

  /** Draws what the camera sees. */
  #picture() {
    const { video } = this;
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    this.#canvas.width = video.videoWidth * scale;
    this.#canvas.height = video.videoHeight * scale;
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, this.#canvas.width, this.#canvas.height);
    return context;
  }

  /** A worker that reads by zxing-wasm; null where it does not get ready. */
  #library() {
    return new Promise((done) => {
      if (!this.hasLibrary) return done(null);
      const worker = new Worker("/gate/workers/reader.js");
      worker.onerror = () => done(null);
      worker.onmessage = ({ data }) => done(data.ready ? worker : null);
      setTimeout(() => done(null), 8000);
    });
  }

  /**
   * Who reads on this device: { name, rest: milliseconds between two pictures, read }; null where nobody does. `read(isWide)` reads the barcodes of
   * wristbands, too.
   */
  async reader() {
    const formats = "BarcodeDetector" in window ? await BarcodeDetector.getSupportedFormats() : [];
    if (formats.includes("qr_code")) {
      const [narrow, wide] = [["qr_code"], BARS.filter((name) => formats.includes(name))].map((some) => new BarcodeDetector({ formats: some }));
      return { name: "native", rest: 60, read: async (isWide) => (await (isWide ? wide : narrow).detect(this.video))[0]?.rawValue };
    }
    const worker = await this.#library();
    if (!worker) return null;
    const read = (isWide) =>
      new Promise((done) => {
        worker.onmessage = ({ data }) => done(data.code);
        const frame = this.#picture().getImageData(0, 0, this.#canvas.width, this.#canvas.height);
        worker.postMessage({ frame, isWide }, [frame.data.buffer]);
      });
    return { name: "library", rest: 60, read };
  }

  /** The server reads: of small frames, for a paired device alone. */
  server() {
    const read = async () => {
      this.#picture();
      const frame = await new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", 0.8));
      const answer = await fetch("/gate/frames", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: frame });
      return answer.ok ? (await answer.json()).code : null;
    };
    return { name: "server", rest: 250, read };
  }
}
