// Counting by hand at a gate: people whom nobody scans (src/entry/head_counts). A tap is a person; it is on the disk before it sounds.

/** How many taps can be taken back. */
const BACK = 100;
const KINDS = ["entry", "exit", "medical_exit"];

export class Counter {
  /** What can be taken back: { kind, gate_id }, the last one at the end. */
  #taps = [];
  /** The tap before: they are written one after the other, and none is left out. */
  #before = Promise.resolve();

  /** `gate`: { gate, link, stage, words, language, element, sound, excuse, show }, the page of the gate. */
  constructor(page) {
    this.page = page;
  }

  /** Shows what was counted on this phone today, and the buttons. */
  show() {
    const { stage, words, element } = this.page;
    const figure = (kind) => element("div", {}, element("dt", {}, words[`count-${kind}`]), element("dd", { "data-counted": kind }));
    const button = (kind) => element("button", { class: "button", "data-count": kind }, `+1 ${words[`count-${kind}`]}`);
    stage.replaceChildren(
      element("section", { class: "verdict counting" }, element("h1", {}, words["mode-count"]), element("p", { class: "more" }, words["count-lead"]), element("dl", { "aria-live": "polite" }, KINDS.map(figure)), element("p", { class: "more", "data-unsent": true })),
      element("div", { class: "keys" }, KINDS.map(button), element("button", { class: "button", "data-count-back": true }, words.undo)),
    );
    this.update();
  }

  /** Says how it stands, where it is shown. */
  update() {
    const { link, stage, words, language } = this.page;
    const unsent = stage.querySelector("[data-unsent]");
    if (!unsent) return;
    const counted = link.counted;
    for (const kind of KINDS) {
      const [figure, now] = [stage.querySelector(`[data-counted=${kind}]`), (counted[kind] ?? 0).toLocaleString(language)];
      if (figure.textContent !== now) figure.textContent = now;
    }
    unsent.dataset.unsent = link.counts.size;
    unsent.textContent = link.counts.size ? words["count-unsent"].replace("{n}", link.counts.size.toLocaleString(language)) : "";
    // It stays where the focus is: one that is gone would hand it to a button that counts.
    stage.querySelector("[data-count-back]").setAttribute("aria-disabled", String(!this.#taps.length));
  }

  /** Does what one of its buttons says; whether it is one. */
  press(button) {
    const { count, countBack } = button.dataset;
    if (count) this.#count({ kind: count, gate_id: this.page.gate.gate_id }, 1);
    else if (countBack !== undefined) this.#takeBack();
    else return false;
    return true;
  }

  #takeBack() {
    const tap = this.#taps.pop();
    if (tap) this.#count(tap, -1);
  }

  #count(tap, people) {
    if (people > 0) this.#taps = [...this.#taps, tap].slice(-BACK);
    this.#before = this.#before.then(() => this.#write(tap, people));
  }

  async #write(tap, people) {
    const { link, sound, excuse, show } = this.page;
    try {
      await link.count(tap.kind, people, tap.gate_id);
      this.update();
      sound(people > 0 ? "admitted" : "check");
    } catch (error) {
      console.warn(error);
      // What is not on the disk was not counted.
      this.#taps = people > 0 ? this.#taps.filter((one) => one !== tap) : [...this.#taps, tap];
      excuse("storage");
      show({});
      sound("refused");
    }
  }
}
