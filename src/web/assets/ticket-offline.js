// Serves tickets' own pages without network: what the server answered last, while it does not answer in time. A ticket that is gone is not kept.

const SHELF = "gatefold-tickets-1";
const PATIENCE = 3_000;
/** How many pages are kept, the oldest first to go. */
const MOST = 40;
const PARTS = ["/assets/gatefold.css", "/assets/sleeves.css", "/assets/gatefold.js", "/assets/ticket.js", "/assets/ticket-code.js", "/assets/mark.svg"];

const isPage = (path) => /^\/t\/[0-9a-f-]{36}\/[^/]+$/.test(path);

/** Whether a server of ours says so: that the ticket is as its page has it, or that there is none; not a proxy in between. */
const isWord = (answer, path) => answer.status === 404 || (answer.ok && (!isPage(path) || answer.headers.has("x-ticket")));

const keep = async (answer, path) => {
  const shelf = await caches.open(SHELF);
  if (answer.status === 404) return shelf.delete(path);
  await shelf.put(path, answer);
  const pages = (await shelf.keys()).filter(({ url }) => isPage(new URL(url).pathname));
  for (const page of pages.slice(0, -MOST)) await shelf.delete(page);
};

const fetched = async (request, path) => {
  const answer = await fetch(request);
  // Where the phone is full the page is shown all the same.
  if (isWord(answer, path)) await keep(answer.clone(), path).catch(() => null);
  return answer;
};

addEventListener("install", (event) => {
  const fill = async () => {
    await Promise.all(PARTS.map((path) => fetched(path, path)));
    await skipWaiting();
  };
  event.waitUntil(fill());
});

addEventListener("activate", (event) => {
  const begin = async () => {
    for (const name of await caches.keys()) if (name.startsWith("gatefold-tickets-") && name !== SHELF) await caches.delete(name);
    await clients.claim();
    // The page that brought this one along was fetched before.
    for (const { url } of await clients.matchAll()) {
      const { pathname } = new URL(url);
      if (isPage(pathname)) await fetched(pathname, pathname).catch(() => null);
    }
  };
  event.waitUntil(begin());
});

addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  // A page that asks anew what is so wants the server, not what was.
  if (event.request.method !== "GET" || !(PARTS.includes(pathname) || (isPage(pathname) && event.request.mode === "navigate"))) return;
  const answer = async () => {
    const kept = await caches.match(pathname, { cacheName: SHELF });
    const fresh = fetched(event.request, pathname);
    if (!kept) return fresh;
    event.waitUntil(fresh.catch(() => null));
    const late = new Promise((done) => setTimeout(() => done(null), PATIENCE));
    const first = await Promise.race([fresh.catch(() => null), late]);
    return first && isWord(first, pathname) ? first : kept;
  };
  event.respondWith(answer());
});
