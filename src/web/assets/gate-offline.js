// Serves the page of the gate without network: what the server answered last, while it does not answer in time. The list and the scans are not here
// (gate-store.js); a page of a device that is not paired is not kept.

const SHELF = "gatefold-gate-5";
const PATIENCE = 2_000;
const PARTS = [
  "/gate",
  "/assets/gatefold.css",
  "/assets/sleeves.css",
  "/assets/gate.js",
  "/assets/gate-camera.js",
  "/assets/gate-code.js",
  "/assets/gate-decide.js",
  "/assets/gate-count.js",
  "/assets/gate-exchange.js",
  "/assets/gate-link.js",
  "/assets/gate-pack.js",
  "/assets/gate-phone.js",
  "/assets/gate-store.js",
  "/assets/mark.svg",
  "/assets/gate-icon.svg",
  "/gate/manifest.webmanifest",
  "/gate/workers/reader.js",
];
/** Not there where the server has no QR reader. */
const EXTRA = ["/assets/scanner/reader.js", "/assets/scanner/reader.wasm"];

const keep = async (request, answer) => {
  const shelf = await caches.open(SHELF);
  if (answer.ok && (new URL(request.url).pathname !== "/gate" || answer.headers.get("x-gate") === "paired")) await shelf.put(request, answer);
  else if (answer.status < 500) await shelf.delete(request);
};

const fetched = async (request, options) => {
  const answer = await fetch(request, options);
  await keep(request, answer.clone());
  return answer;
};

addEventListener("install", (event) => {
  const fill = async () => {
    await Promise.all(PARTS.map((path) => fetched(new Request(path))));
    await Promise.allSettled(EXTRA.map((path) => fetched(new Request(path))));
    await skipWaiting();
  };
  event.waitUntil(fill());
});

addEventListener("activate", (event) => {
  const begin = async () => {
    for (const name of await caches.keys()) if (name.startsWith("gatefold-gate-") && name !== SHELF) await caches.delete(name);
    await clients.claim();
  };
  event.waitUntil(begin());
});

addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || ![...PARTS, ...EXTRA].includes(pathname)) return;
  const answer = async () => {
    const kept = await caches.match(pathname, { cacheName: SHELF });
    if (!kept) return fetched(event.request);
    const fresh = fetched(event.request).catch(() => null);
    const late = new Promise((done) => setTimeout(() => done(null), PATIENCE));
    const first = await Promise.race([fresh, late]);
    event.waitUntil(fresh);
    return first && first.status < 500 ? first : kept;
  };
  event.respondWith(answer());
});
