// The exchange desk of a gate (src/entry/bands): a ticket, then the wristband that it becomes.

import { identity } from "/assets/gate-code.js";
import { Unable, uuid7 } from "/assets/gate-link.js";

/** How long the same band is the same presentation: readers type twice. */
const TWICE = 3_000;

export class Desk {
  /** The exchange that is under way: { exchange_id, ticket_code, checked, lifts_live_code }; null where none is. */
  trading = null;
  isBusy = false;
  #given = { code: "", at: 0 };

  /** `gate`: { link, stage, video, words, element, print, excuse, trouble, sound, show, next, lookUp }, the page of the gate. */
  constructor(gate) {
    this.gate = gate;
  }

  /** Whether the band is looked for now. */
  get isLooking() {
    return Boolean(this.trading && this.gate.stage.querySelector(".finder"));
  }

  /** Whether a picture of the camera says this for sure: a barcode that is read in part is a band that nobody wears, and the ticket may still be in sight. */
  isSure(code, before) {
    return !this.isLooking || (code === before && identity(code ?? "") !== identity(this.trading.ticket_code));
  }

  /** A text that was read: of the band that is looked for, or of the next ticket. */
  take(code) {
    if (this.isBusy) return;
    // Whether this band counts nobody knows yet: reading it again asks again.
    if (this.trading?.band) return code === this.trading.band.code ? this.#ask({}) : undefined;
    if (this.isLooking) return this.#ask({ band: { code } });
    if (code === this.#given.code && Date.now() - this.#given.at < TWICE) return;
    this.trading = null;
    return this.#ask({ ticket_code: code.slice(0, 400) });
  }

  /** The buttons below an answer. */
  keys({ verdict, reason, given_at }) {
    const { element, words, link } = this.gate;
    const button = (attributes, text) => element("button", { class: "button", ...attributes }, text);
    const next = button({ "data-next": true }, words.next);
    if (given_at) return [next, button({ "data-take-back": true }, words["take-back"])];
    if (verdict === "admitted") return [button({ "data-plain": true }, words["plain-band"]), next];
    // A supervisor may say that a phone cannot show its code.
    return reason === "live_code_required" && link.supervising ? [next, button({ "data-lift": true }, words.supervisor)] : [next];
  }

  /** Does what one of its buttons says; whether it is one. */
  press(button, shown) {
    const { plain, again, lift, takeBack, checked } = button.dataset;
    if (plain === "sure") this.#ask({ band: {} });
    else if (plain !== undefined) [button.dataset.plain, button.textContent] = ["sure", this.gate.words["plain-sure"]];
    else if (again !== undefined) this.#ask({});
    else if (lift !== undefined) this.#ask({ lifts_live_code: true });
    else if (takeBack !== undefined) this.#takeBack(shown.ticket);
    else if (checked === "yes") this.#ask({ checked });
    else return false;
    return true;
  }

  async #ask(more) {
    if (this.isBusy) return;
    this.isBusy = true;
    const { link, stage, sound, excuse, trouble, show, element, words } = this.gate;
    const asked = { ...this.trading, ...more };
    try {
      if (!this.trading) asked.ticket_code = await this.gate.lookUp(asked.ticket_code);
      asked.exchange_id ??= uuid7();
      this.#say(asked, { ...(await link.exchange(asked)), kind: "exchange" });
    } catch (error) {
      if (!(error instanceof Unable)) throw error;
      if (error.message === "revoked") return location.reload();
      if (error.message === "band" && stage.querySelector(".trouble")) trouble("band");
      else {
        // Whether the band counts nobody knows: it is asked for again, by the same exchange.
        const isOpen = error.message === "exchange-again";
        excuse(error.message);
        this.trading = isOpen ? asked : null;
        if (isOpen) stage.querySelector(".keys").replaceChildren(element("button", { class: "button", "data-again": true }, words.again));
        show({ code: asked.ticket_code, kind: "exchange" });
      }
      sound("refused");
    } finally {
      this.isBusy = false;
    }
    // A reader that types ends with Enter: that shall press nothing while a band is looked for.
    if (this.isLooking) document.activeElement?.blur();
    else stage.querySelector("button")?.focus();
  }

  #say(asked, answer) {
    const { stage, video, element, print, sound, show } = this.gate;
    print(answer);
    show({ code: asked.ticket_code, scan: answer.exchange_id, kind: "exchange", ticket: answer.ticket_id });
    const { exchange_id, ticket_code, checked, lifts_live_code } = asked;
    this.trading = answer.given_at ? null : { exchange_id, ticket_code, checked, lifts_live_code };
    if (answer.given_at) this.#given = { code: asked.band?.code ?? "", at: Date.now() };
    else if (answer.verdict === "admitted") {
      stage.querySelector("section").append(element("p", { class: "more trouble", role: "alert", hidden: true }), element("div", { class: "finder small" }, video));
      video.play?.().catch(() => {});
    }
    sound(answer.verdict);
  }

  async #takeBack(ticket) {
    if (this.isBusy) return;
    this.isBusy = true;
    const { link, next, excuse, show } = this.gate;
    try {
      await link.endBand(ticket, "returned");
      next();
    } catch (error) {
      if (!(error instanceof Unable)) throw error;
      excuse(error.message);
      show({ kind: "exchange" });
    } finally {
      this.isBusy = false;
    }
  }
}
