// Counting by hand at a gate: people whom nobody scans (src/entry/head_counts). A tap is a person; it is on the disk before it sounds.

/** How many taps can be taken back. */
const BACK = 100;

export class Counter {
  #taps = [];
  #isBusy = false;

  /** `gate`: { link, stage, words, language, element, sound, excuse }, the page of the gate. */
  constructor(gate) {
    this.gate = gate;
  }

  /** Shows what was counted on this phone today, and the buttons. */
  show() {
    const { link, stage, words, language, element } = this.gate;
    const counted = link.counted;
    const figure = (kind) => element("div", {}, element("dt", {}, words[`count-${kind}`]), element("dd", { "data-counted": kind }, (counted[kind] ?? 0).toLocaleString(language)));
    const button = (kind) => element("button", { class: "button", "data-count": kind }, `+1 ${words[`count-${kind}`]}`);
    stage.replaceChildren(
      element("section", { class: "verdict counting" }, element("h1", {}, words["mode-count"]), element("p", { class: "more" }, words["count-lead"]), element("dl", { "aria-live": "polite" }, ["entry", "exit", "medical_exit"].map(figure)), element("p", { class: "more", "data-unsent": true })),
      element("div", { class: "keys" }, button("entry"), button("exit"), button("medical_exit"), element("button", { class: "button", "data-count-back": true, disabled: !this.#taps.length }, words.undo)),
    );
    this.unsent();
  }

  /** Says how many counts are not sent. */
  unsent() {
    const { link, stage, words, language } = this.gate;
    const said = stage.querySelector("[data-unsent]");
    said.dataset.unsent = link.counts.size;
    said.textContent = link.counts.size ? words["count-unsent"].replace("{n}", link.counts.size.toLocaleString(language)) : "";
  }

  /** Does what one of its buttons says; whether it is one. */
  press(button) {
    const { count, countBack } = button.dataset;
    if (count) this.#count(count, 1);
    else if (countBack !== undefined && this.#taps.length) this.#count(this.#taps.at(-1), -1);
    else return false;
    return true;
  }

  async #count(kind, people) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const { link, stage, sound, excuse } = this.gate;
    try {
      await link.count(kind, people);
      if (people > 0) this.#taps = [...this.#taps, kind].slice(-BACK);
      else this.#taps.pop();
      const pressed = people > 0 ? `[data-count=${kind}]` : "[data-count-back]:not(:disabled), [data-count]";
      this.show();
      stage.querySelector(pressed)?.focus();
      sound(people > 0 ? "admitted" : "check");
    } catch (error) {
      console.warn(error);
      excuse("storage");
      sound("refused");
    } finally {
      this.#isBusy = false;
    }
  }
}
