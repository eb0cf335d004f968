// What a gate keeps through reload, crash and a day without network: the list, what it decided by itself, and its own entries, in IndexedDB. Writes
// about people are on the disk before anything sounds (`durability: "strict"`).

const NAME = "gatefold-gate";
const STORES = { list: undefined, queue: "scan_id", own: "scan_id" };

const asked = (request) =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });

let opening;
const open = () => {
  opening ??= new Promise((done, failed) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const [name, keyPath] of Object.entries(STORES)) request.result.createObjectStore(name, keyPath && { keyPath });
    };
    request.onsuccess = () => {
      // A phone that slept may find it closed: the next who asks opens it again.
      request.result.onclose = () => (opening = undefined);
      done(request.result);
    };
    request.onerror = () => {
      opening = undefined;
      failed(request.error);
    };
  });
  return opening;
};

/** Everything of a store. */
export const all = async (store) => asked((await open()).transaction(store).objectStore(store).getAll());

/** One thing of the store `list`. */
export const one = async (key) => asked((await open()).transaction("list").objectStore("list").get(key));

/** Does several things at once or not at all: `change` gets the stores by name. Done when it is on the disk. */
export const write = async (stores, change) => {
  const begin = async () => (await open()).transaction(stores, "readwrite", { durability: "strict" });
  const transaction = await begin().catch(() => {
    opening = undefined;
    return begin();
  });
  const done = new Promise((written, failed) => {
    transaction.oncomplete = () => written();
    transaction.onerror = transaction.onabort = () => failed(transaction.error);
  });
  change(Object.fromEntries([stores].flat().map((name) => [name, transaction.objectStore(name)])));
  return done;
};

