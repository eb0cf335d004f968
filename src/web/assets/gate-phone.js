// What this phone can do at a gate, and what it cannot: said at the start of a shift, before the doors open. And practice: codes that change nothing.

/** Practice codes, which a sheet of the desk prints: G0 and what they show. */
const PRACTICE = /^G0PRACTICE(ADMITTED|CHECK|REFUSED)$/;

/** The verdict of a practice code; null for all others. */
export const practised = (code) => {
  const verdict = PRACTICE.exec(code)?.[1].toLowerCase();
  const more = { check: { instruction: "age" }, refused: { reason: "already_inside" }, admitted: {} }[verdict];
  return verdict ? { verdict, kind: "entry", is_practice: true, ...more } : null;
};

/**
 * What this phone can do: [name, yes] each, in the order of weight; `null` where it is not known yet. `reader`: who reads pictures, "native", "library",
 * "server"; "none" where there is no camera, nothing while it starts.
 */
export const abilities = async ({ link, reader }) => {
  const isKept = await navigator.storage?.persisted?.().catch(() => false);
  return [
    ["list", link.isReady],
    ["camera", reader === "none" ? false : reader ? true : null],
    ["reads", reader && reader !== "none" ? reader !== "server" : null],
    ["verifies", link.keys.length ? link.canVerify : null],
    ["keeps", Boolean(isKept)],
    ["installed", matchMedia("(display-mode: standalone), (display-mode: fullscreen)").matches || navigator.standalone === true],
    ["clock", link.heard ? Math.abs(link.offset) < 5 * 60_000 : null],
    ["awake", "wakeLock" in navigator],
    ["shakes", "vibrate" in navigator],
  ];
};

/** Keeps the screen on while the page is looked at, where the phone lets it. */
export const stayAwake = () => {
  const ask = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
  document.addEventListener("visibilitychange", ask);
  ask();
};
