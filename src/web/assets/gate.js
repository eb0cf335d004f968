// The gate: camera, a scanner that types, or a hand. Read a code, ask the server, show its verdict, sound it.

const stage = document.querySelector("[data-stage]");
if (stage) {
  const words = document.querySelector("[data-words]").dataset;
  const video = document.querySelector("[data-video]");
  const finder = stage.firstElementChild;
  const typed = document.querySelector("[data-typed]");
  const offline = document.querySelector("[data-offline]");
  const camera = document.querySelector("[data-camera]");
  let busy = false;
  let last = { code: "", at: 0 };
  let shown = null;

  /** A UUID of version 7 (RFC 9562): the device's own id of a scan. */
  const uuid7 = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    let ms = Date.now();
    for (let i = 5; i >= 0; i--) {
      bytes[i] = ms % 256;
      ms = Math.floor(ms / 256);
    }
    bytes[6] = (bytes[6] & 15) | 0x70;
    bytes[8] = (bytes[8] & 63) | 0x80;
    const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  };

  let audio;
  /** Two rising tones, one low one, or two short ones: told apart without looking. */
  const sound = (verdict) => {
    const tones = { admitted: [[660, 0], [990, 0.12]], refused: [[180, 0], [140, 0.2]], check: [[520, 0], [520, 0.2]] }[verdict];
    try {
      audio ??= new AudioContext();
      for (const [pitch, at] of tones) {
        const tone = audio.createOscillator();
        const level = audio.createGain();
        tone.type = verdict === "refused" ? "square" : "sine";
        tone.frequency.value = pitch;
        level.gain.setValueAtTime(0.25, audio.currentTime + at);
        level.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.18);
        tone.connect(level).connect(audio.destination);
        tone.start(audio.currentTime + at);
        tone.stop(audio.currentTime + at + 0.2);
      }
    } catch {
      // No sound until somebody touched the page; the field of color says it too.
    }
    navigator.vibrate?.(verdict === "admitted" ? 60 : [120, 60, 120]);
  };

  /** Asks the server for a verdict; the same scan id is asked again until there is one. */
  const scan = async (code, more = {}) => {
    if (busy) return;
    busy = true;
    const body = JSON.stringify({ scan_id: uuid7(), code, scanned_at: new Date().toISOString(), ...more });
    for (;;) {
      try {
        const answer = await fetch("/gate/scans", { method: "POST", headers: { "content-type": "application/json" }, body });
        if (answer.status === 401) return location.reload();
        if (answer.ok) {
          offline.hidden = true;
          stage.innerHTML = await answer.text();
          shown = { code, scan: JSON.parse(body).scan_id };
          sound(answer.headers.get("x-verdict"));
          stage.querySelector("button")?.focus();
          break;
        }
      } catch {
        // The network is gone: it is asked again below.
      }
      offline.hidden = false;
      await new Promise((wait) => setTimeout(wait, 800));
    }
    busy = false;
  };

  const next = () => {
    stage.replaceChildren(finder);
    shown = null;
    last.at = Date.now();
    video.play?.().catch(() => {});
  };

  stage.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || !shown) return;
    if ("undo" in button.dataset) scan(shown.code, { kind: "undo" });
    else if (button.dataset.checked) scan(shown.code, { after: shown.scan, checked: button.dataset.checked }).then(() => button.dataset.checked === "help_desk" && next());
    else next();
  });

  typed.addEventListener("submit", (event) => {
    event.preventDefault();
    const code = typed.code.value.trim().toUpperCase();
    typed.code.value = "";
    if (code) scan(code);
  });

  // A scanner that types: fast keys that end with Enter, wherever the focus is.
  let wedge = "";
  let at = 0;
  document.addEventListener("keydown", (event) => {
    if (event.target === typed.code) return;
    const now = performance.now();
    if (now - at > 100) wedge = "";
    at = now;
    if (event.key === "Enter" && wedge.length >= 20) {
      event.preventDefault();
      const code = wedge;
      wedge = "";
      scan(code);
    } else if (event.key.length === 1) wedge += event.key.toUpperCase();
  });

  const found = (code) => {
    // The same code in front of the camera is one presentation until it was away for three seconds.
    if (!code || (code === last.code && Date.now() - last.at < 3000)) {
      if (code) last.at = Date.now();
      return;
    }
    last = { code, at: Date.now() };
    scan(code);
  };

  const canvas = document.createElement("canvas");
  /** Draws what the camera sees, at most 960 pixels wide or high. */
  const picture = () => {
    const scale = Math.min(1, 960 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = video.videoWidth * scale;
    canvas.height = video.videoHeight * scale;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    return context;
  };

  /** A worker that reads by zxing-wasm; null where it does not get ready. */
  const library = () =>
    new Promise((done) => {
      if (!("scanner" in stage.dataset)) return done(null);
      const worker = new Worker("/assets/gate-reader.js");
      worker.onerror = () => done(null);
      worker.onmessage = ({ data }) => done(data.ready ? worker : null);
      setTimeout(() => done(null), 8000);
    });

  /** Reads on the device, by the browser itself or by the library; else lets the server read small frames. */
  const reader = async () => {
    if ("BarcodeDetector" in window && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
      const detector = new BarcodeDetector({ formats: ["qr_code"] });
      stage.dataset.reader = "native";
      return [words.cameraOn, 60, async () => (await detector.detect(video))[0]?.rawValue];
    }
    const worker = await library();
    if (worker) {
      stage.dataset.reader = "library";
      const ask = () =>
        new Promise((done) => {
          worker.onmessage = ({ data }) => done(data.code);
          const frame = picture().getImageData(0, 0, canvas.width, canvas.height);
          worker.postMessage(frame, [frame.data.buffer]);
        });
      return [words.cameraOn, 60, ask];
    }
    stage.dataset.reader = "server";
    const read = async () => {
      picture();
      const frame = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
      const answer = await fetch("/gate/frames", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: frame });
      return answer.ok ? (await answer.json()).code : null;
    };
    return [words.cameraServer, 250, read];
  };

  const start = async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
      await video.play();
    } catch {
      camera.textContent = words.cameraOff;
      return;
    }
    const [words_, rest, read] = await reader();
    camera.textContent = words_;
    for (;;) {
      if (!busy && !shown && video.videoWidth > 0) {
        try {
          found(await read());
        } catch {
          // A frame that cannot be read is followed by the next.
        }
      }
      await new Promise((wait) => setTimeout(wait, rest));
    }
  };
  start();
  setInterval(() => {
    const clock = document.querySelector("[data-clock]");
    // The time of the festival, whatever zone the phone believes to be in.
    clock.textContent = new Date().toLocaleTimeString("en-GB", { timeZone: clock.dataset.zone, hour12: false });
  }, 1000);
}
