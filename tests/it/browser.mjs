// Scenes in headless Chromium, by playwright-core: `node browser.mjs <scene> <json>`; the last line is what was seen.
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { inflateSync } from "node:zlib";
import path from "node:path";

const [, , name, json] = process.argv;
const { modules, pictures, input } = JSON.parse(json);
const { chromium } = createRequire(path.join(modules, "x.js"))("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync) ?? execFileSync("which", ["chromium"]).toString().trim();
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];

const errors = [];
const watch = (page) => {
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
};
const sideways = [];
const look = async (page, what) => {
  if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1)) sideways.push(what);
  await page.screenshot({ path: path.join(pictures, `${what}.png`), fullPage: true });
};

/** Pairs a page by the code behind the number sign, and waits until its list has as many tickets. */
const pair = async (page, code, tickets, name = "lane 1") => {
  await page.goto(`${input.url}/gate#${code}`);
  await page.fill("#name", name);
  await page.click("button.broad");
  try {
    await page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, tickets, { timeout: 30_000 });
  } catch (error) {
    // What it shows instead is what one wants to know.
    const shown = await page.evaluate(() => `${location.href} ${document.querySelector("main")?.innerText}`);
    throw new Error(`${error.message}: ${shown}; ${errors.join("; ")}`);
  }
};

const scenes = {
  /** A fan waits for a turn on a phone and then may choose. */
  async wait() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    await page.goto(`${input.url}/f/${input.slug}`);
    await page.click(`a[href="/w/${input.offer}"]`);
    await page.waitForSelector("[data-standing=gathering]");
    const gathering = await page.textContent("h1");
    await look(page, "waiting-gathering-360");
    // The test moves the clock meanwhile; the page finds out by itself.
    await page.waitForSelector("[data-standing=turn]", { timeout: 60_000 });
    const title = await page.title();
    await look(page, "waiting-turn-360");
    await page.click("main a.button");
    await page.waitForSelector(`select[name="offer-${input.offer}"]`);
    await browser.close();
    return { gathering, sideways, title, errors };
  },

  /** A ticket with live codes: bound to one phone, shown without network, moved to another phone. */
  async live() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const phone = async () => {
      const context = await browser.newContext({ viewport: { width: 360, height: 780 }, deviceScaleFactor: 2, locale: "en-GB" });
      const page = await context.newPage();
      watch(page);
      return { context, page };
    };
    const [faces, codes, files] = [[], [], []];
    const face = async (page, wanted) => {
      await page.waitForSelector(`[data-live-code][data-face=${wanted}]`, { timeout: 20_000 });
      faces.push(await page.getAttribute("[data-live-code]", "data-face"));
    };
    const code = async (page, before) => {
      await page.waitForFunction((code) => ![undefined, code].includes(document.querySelector("[data-live-code]").dataset.code), before, { timeout: 20_000 });
      const file = path.join(pictures, `live-code-${codes.length}.png`);
      const [shown] = await Promise.all([page.getAttribute("[data-live-code]", "data-code"), page.locator("[data-picture]").screenshot({ path: file })]);
      // Nothing changed meanwhile.
      if ((await page.getAttribute("[data-live-code]", "data-code")) !== shown) return code(page, before);
      codes.push(shown);
      files.push(file);
      return shown;
    };
    // A gate that loses its network before the ticket is bound.
    const gate = await phone();
    await gate.context.grantPermissions(["camera"]);
    await pair(gate.page, input.pairing_code, 1);
    const texts = await gate.page.evaluate(() => JSON.parse(document.querySelector("[data-gate]").dataset.gate).words);
    await gate.context.setOffline(true);
    const scanned = async (code) => {
      await gate.page.fill("#typed", code);
      await gate.page.press("#typed", "Enter");
      await gate.page.waitForSelector("[data-verdict]");
      const verdict = await gate.page.getAttribute("[data-verdict]", "data-verdict");
      const reason = (await gate.page.locator("[data-stage] .reason").allTextContents())[0];
      await gate.page.click("[data-next]");
      return verdict === "refused" ? Object.keys(texts).find((key) => key.startsWith("reason-") && texts[key] === reason)?.slice(7) : verdict;
    };

    const { context, page } = await phone();
    await page.goto(input.order);
    await look(page, "live-order-360");
    const leads = await page.getAttribute(".live a.button", "href");
    await page.goto(input.ticket);
    await face(page, "free");
    await look(page, "live-free-360");
    await page.click("[data-show=free] [data-bind]");
    await face(page, "here");
    const first = await code(page);
    await look(page, "live-here-360");
    // Fifteen seconds at most, and it is another one; also where the server takes the connection and says nothing.
    await page.route("**/t/**", () => {});
    await page.evaluate(() => dispatchEvent(new Event("online")));
    const second = await code(page, first);
    const atGate = { picture: await scanned(input.picture), live: await scanned(second) };
    await page.unroute("**/t/**");
    await gate.context.close();

    await page.waitForFunction(async (address) => (await caches.match(address)) !== undefined, new URL(input.ticket).pathname, { timeout: 20_000 });
    await context.setOffline(true);
    errors.length = 0;
    await page.reload();
    await face(page, "here");
    const isOffline = await page.isVisible("[data-no-network]");
    await code(page);
    await look(page, "live-offline-360");
    await context.setOffline(false);
    errors.length = 0;

    const other = await phone();
    await other.page.goto(input.ticket);
    await face(other.page, "elsewhere");
    await look(other.page, "live-elsewhere-360");
    await other.page.click("[data-show=elsewhere] [data-bind]");
    await face(other.page, "here");
    await code(other.page);
    await page.reload();
    await face(page, "elsewhere");
    await browser.close();
    return { faces, codes, pictures: files, leads, isOffline, gate: atGate, sideways, errors };
  },

  /** A gate without network is told by a code that everybody is out. */
  async cleared() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB", permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    await pair(page, input.pairing_code, 1);
    const enter = async (code) => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable], [data-cleared]");
      const said = await page.locator("[data-stage] section").evaluate((section) => section.dataset.verdict ?? section.dataset.unable ?? "cleared");
      if (said === "cleared") await look(page, "gate-cleared-390");
      await page.click("[data-next]");
      return said;
    };
    const said = [await enter(input.ticket)];
    await context.setOffline(true);
    errors.length = 0;
    for (const code of [input.ticket, input.forged, input.bent, input.retired, input.ticket]) said.push(await enter(code));
    // The clock of the house stands; that of the phone has to be past the moment.
    await page.waitForTimeout(8_000);
    for (const code of [input.clearing, input.ticket, input.ticket]) said.push(await enter(code));
    // It is kept, too.
    await page.reload();
    await page.waitForFunction(() => Number(document.querySelector("[data-list]")?.dataset.tickets) >= 1, null, { timeout: 30_000 });
    said.push(await enter(input.other));
    await browser.close();
    return { said, sideways, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },

  /** People are counted by hand: online, without network, through a reload. */
  async count() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] });
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, locale: "en-GB", permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    await pair(page, input.pairing_code, 1);
    const choose = () => page.click(".modes label:has([value=count])");
    const counted = () => page.locator("[data-counted]").allTextContents();
    const tap = async (kind) => {
      const before = await counted();
      await page.click(kind);
      await page.waitForFunction((text) => [...document.querySelectorAll("[data-counted]")].map((one) => one.textContent).join() !== text, before.join());
    };
    await choose();
    await tap("[data-count=entry]");
    await tap("[data-count=entry]");
    await page.waitForFunction(() => document.querySelector("[data-unsent]").dataset.unsent === "0", null, { timeout: 30_000 });
    // The server has it, and its answer is lost; people go on coming meanwhile.
    let isLost = false;
    await page.route("**/v1/head-counts", async (route) => {
      if (isLost) return route.continue();
      isLost = true;
      await route.fetch();
      await page.evaluate(() => document.querySelector("[data-count=entry]").click());
      await route.fulfill({ status: 504, body: "" });
    });
    await tap("[data-count=entry]");
    await page.waitForFunction(() => document.querySelector("[data-counted=entry]").textContent === "4" && document.querySelector("[data-unsent]").dataset.unsent === "0", null, { timeout: 30_000 });
    await context.setOffline(true);
    errors.length = 0;
    for (const kind of ["exit", "medical_exit"]) await tap(`[data-count=${kind}]`);
    // Undo stays where the focus is: twice Enter takes two back.
    for (const kind of ["entry", "exit"]) await tap(`[data-count=${kind}]`);
    await page.focus("[data-count-back]");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => [...document.querySelectorAll("[data-counted]")].map((one) => one.textContent).join() === "4,1,1");
    // Whoever is quicker than the disk loses nobody.
    await page.evaluate(() => [1, 2, 3, 4, 5].forEach(() => document.querySelector("[data-count=exit]").click()));
    await page.waitForFunction(() => document.querySelector("[data-counted=exit]").textContent === "6");
    await page.evaluate(() => [1, 2, 3, 4, 5].forEach(() => document.querySelector("[data-count-back]").click()));
    await page.waitForFunction(() => document.querySelector("[data-counted=exit]").textContent === "1");
    // What the disk does not take was not counted, and is said.
    await page.evaluate(() => {
      const put = IDBObjectStore.prototype.put;
      IDBObjectStore.prototype.put = function () {
        IDBObjectStore.prototype.put = put;
        throw new DOMException("full", "QuotaExceededError");
      };
    });
    await page.click("[data-count=entry]");
    await page.waitForSelector("[data-unable=storage]");
    await page.click("[data-next]");
    await page.waitForSelector(".counting");
    await look(page, "gate-count-360");
    const shown = await counted();
    await page.reload();
    await page.waitForFunction(() => Number(document.querySelector("[data-list]")?.dataset.tickets) >= 1, null, { timeout: 30_000 });
    await choose();
    const kept = await counted();
    await context.setOffline(false);
    errors.length = 0;
    await page.waitForFunction(() => document.querySelector("[data-unsent]").dataset.unsent === "0", null, { timeout: 30_000 });
    await page.setViewportSize({ width: 1440, height: 900 });
    await look(page, "gate-count-1440");
    await browser.close();
    return { shown, kept, sideways, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },

  /** A phone that compares names with documents has no network, and opens what is sealed under a code. */
  async names() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] });
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, locale: "en-GB", permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    // The server of before knows no boxes: the phone has its list all the same, and a whole one when the new server comes.
    await page.route("**/v1/pack?*", (route) => (route.request().url().includes("format=4") ? route.fulfill({ status: 422, body: "{}" }) : route.continue()));
    await pair(page, input.pairing_code, input.tickets);
    const whole = page.waitForResponse((answer) => answer.status() === 200 && answer.url().includes("tickets=0") && answer.url().includes("format=4"), { timeout: 30_000 });
    await page.unroute("**/v1/pack?*");
    await whole;
    const shown = () => page.locator("[data-stage] section").evaluate((section) => {
      const text = (selector) => section.querySelector(selector)?.textContent ?? null;
      return [text("h1"), text(".reason:not([data-name])"), text("[data-name]"), text("[data-note]"), "offlineVerdict" in section.dataset];
    });
    const enter = async (code) => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable]");
      return shown();
    };
    // What is written once the phone has its list comes to it by deltas: a note, and another one.
    for (const note of ["Ask for Ana", "Guest of the band"]) {
      const heard = page.waitForResponse((answer) => answer.url().includes("/v1/pack?") && Number(answer.headers()["content-length"] ?? 9e9) > 0, { timeout: 30_000 });
      await fetch(`${input.url}${input.note}`, { method: "PUT", headers: { "content-type": "application/json", authorization: `Bearer ${input.token}` }, body: JSON.stringify({ note }) });
      await heard;
      await page.waitForResponse((answer) => answer.url().includes("/v1/pack?"), { timeout: 30_000 });
    }
    await page.waitForResponse((answer) => answer.url().includes("/v1/pack?"), { timeout: 30_000 });
    await page.waitForTimeout(300);
    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    errors.length = 0;
    const third = await enter(input.codes[0]);
    await look(page, "gate-name-360");
    await page.click("[data-checked=yes]");
    await page.waitForSelector("[data-verdict=admitted]");
    const checked = await shown();
    await page.click("[data-next]");
    const noted = await enter(input.codes[1]);
    await look(page, "gate-note-360");
    await browser.close();
    return { third, checked, noted, sideways, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },

  /** An exchange desk gives bands; a gate that loses its network knows them. */
  async exchange() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] });
    const paired = async (code, name) => {
      const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB", permissions: ["camera"] });
      const page = await context.newPage();
      watch(page);
      await pair(page, code, input.codes.length, name);
      return { context, page };
    };
    const shown = (page) => page.locator("[data-stage] section").evaluate((section) => ({
      word: section.querySelector("h1").textContent,
      verdict: section.dataset.verdict ?? null,
      reason: section.querySelector(".reason")?.textContent ?? null,
      left: section.querySelector("[data-left]")?.dataset.left ?? null,
      offline: "offlineVerdict" in section.dataset,
    }));
    const enter = async (page, code, selector = "[data-verdict], [data-unable]") => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector(selector);
      return shown(page);
    };
    const seen = {};
    const { context, page } = await paired(input.desk, "desk 1");
    await look(page, "desk-390");
    seen.asked = await enter(page, input.codes[0], "[data-plain]");
    await look(page, "desk-give-390");
    seen.given = await enter(page, input.bands[0], "[data-take-back]");
    await look(page, "desk-given-390");
    await page.click("[data-next]");
    await enter(page, input.codes[1], "[data-plain]");
    await enter(page, input.bands[0], ".trouble:not([hidden])");
    seen.taken = await page.isVisible(".trouble");
    await look(page, "desk-taken-390");
    // A reader that types, as for NFC: fast keys and Enter, wherever the focus is.
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.type(input.bands[1], { delay: 5 });
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-take-back]");
    seen.other = await shown(page);
    await page.click("[data-next]");
    await enter(page, input.codes[2], "[data-plain]");
    // One tap is none: a reader that types ends with Enter, too.
    await page.keyboard.press("Enter");
    await page.click("[data-plain]");
    seen.sure = await page.textContent("[data-plain]");
    await page.click("[data-plain]");
    await page.waitForSelector("[data-take-back]");
    seen.plain = await shown(page);
    await page.click("[data-next]");
    // The server takes a band, and its answer is lost: the same exchange is asked for again, and counts once.
    await enter(page, input.codes[3], "[data-plain]");
    await page.route("**/v1/exchanges", async (route) => {
      await route.fetch();
      await route.fulfill({ status: 504, body: "" });
    });
    seen.lost = await enter(page, input.bands[2], "[data-again]");
    // So does reading the same band again; its answer is lost, too.
    const lost = page.waitForResponse("**/v1/exchanges");
    await enter(page, input.bands[2], "[data-again]");
    await lost;
    await page.unroute("**/v1/exchanges");
    await page.click("[data-again]");
    await page.waitForSelector("[data-take-back]");
    seen.found = await shown(page);
    errors.length = 0;
    await page.click("[data-next]");
    seen.again = await enter(page, input.codes[2], "[data-verdict=refused]");
    await look(page, "desk-again-390");
    await page.click("[data-next]");
    // Two desks without network would give two bands: it gives none, and says where people go.
    await context.setOffline(true);
    seen.alone = (await enter(page, input.codes[4], "[data-unable]")).reason;
    await look(page, "desk-alone-390");
    await context.close();
    errors.length = 0;

    const gate = await paired(input.gate, "lane 1");
    // The list knows the three bands before the network goes.
    await gate.page.waitForTimeout(500);
    await gate.context.setOffline(true);
    errors.length = 0;
    seen.band = await enter(gate.page, input.bands[0], "[data-verdict]");
    await look(gate.page, "gate-band-390");
    await gate.page.click("[data-next]");
    seen.picture = await enter(gate.page, input.codes[0], "[data-verdict]");
    await gate.page.click("[data-next]");
    seen.nobodys = await enter(gate.page, "04A1B2C3D4E5F7", "[data-verdict]");
    await gate.page.click("[data-next]");
    seen.tens = await enter(gate.page, input.bands[1], "[data-verdict]");
    await gate.context.setOffline(false);
    errors.length = 0;
    await gate.page.waitForFunction(() => Number(document.querySelector("[data-offline]").dataset.waiting) === 0, null, { timeout: 30_000 });
    await browser.close();
    return { ...seen, sideways, errors };
  },

  /** Finance looks at what differs from the provider. */
  async differences() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 780 }, locale: "en-GB" });
    await context.addCookies([{ name: input.cookie.split("=")[0], value: input.cookie.split("=")[1], url: input.url }]);
    const page = await context.newPage();
    watch(page);
    await page.goto(`${input.url}/desk/night-ferry/money`);
    const count = () => page.locator("section:has(#differing) li").count();
    const before = await count();
    await look(page, "differences-360");
    await page.setViewportSize({ width: 1440, height: 900 });
    await look(page, "differences-1440");
    for (let n = before; n > 0; n--) {
      await page.locator("section:has(#differing) li input").first().fill("a test charge");
      await page.locator("section:has(#differing) li button").first().click();
      await page.waitForFunction((n) => document.querySelectorAll("section:has(#differing) li").length === n, n - 1);
    }
    await page.goto(`${input.url}/desk/night-ferry/money?lang=zh`);
    await look(page, "differences-none-zh-1440");
    const after = await count();
    await browser.close();
    return { before, after, sideways, errors };
  },

  /** A buyer passes the ticket of an order on, by its own page. */
  async ["pass-on"]() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 780 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    await page.goto(input.order);
    await look(page, "pass-on-order-360");
    const ticket = await page.getAttribute("ol.tracks a[href*='/t/']", "href");
    await page.goto(ticket);
    await page.fill("#transfer-email", input.email);
    await page.fill("#transfer-name", "Noor");
    await look(page, "pass-on-form-360");
    await page.click("#pass-on button");
    await page.waitForSelector("text=On its way");
    await look(page, "pass-on-sent-360");
    // Taken back and sent again.
    await page.click("button:has-text('Take it back')");
    await page.waitForSelector("#transfer-email");
    await page.fill("#transfer-email", input.email);
    await page.click("#pass-on button");
    await page.waitForSelector("text=On its way");
    await browser.close();
    return { ticket, sideways, errors };
  },

  /** Whoever it was sent to takes it; the pages of before say so. */
  async take() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 780 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    await page.goto(input.link);
    await look(page, "take-360");
    await page.fill("#name", "Noor Haddad");
    await page.click("button.broad");
    await page.waitForSelector(".ticket");
    await look(page, "taken-360");
    const name = (await page.textContent(".ticket .holder b")).trim();
    await page.goto(input.link);
    await look(page, "take-done-360");
    await page.goto(input.ticket);
    await look(page, "passed-360");
    const gone = (await page.locator(".ticket").count()) === 0;
    await page.goto(input.order);
    await look(page, "pass-on-order-gone-360");
    const passed = await page.isVisible("text=Passed on to Noor Haddad");
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(input.link + "?lang=zh");
    await look(page, "take-done-zh-1440");
    await browser.close();
    return { name, gone, passed, sideways, errors };
  },

  /** An owner connects Stripe at the desk; a fan pays there by redirect, with a declined card, the way back, a second tab and a double click between. */
  async stripe() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const desk = await browser.newContext({ viewport: { width: 360, height: 780 }, locale: "en-GB" });
    await desk.addCookies([{ name: input.cookie.split("=")[0], value: input.cookie.split("=")[1], url: input.url }]);
    const owner = await desk.newPage();
    watch(owner);
    await owner.goto(`${input.url}/payment-accounts`);
    await look(owner, "treasury-none-360");
    await owner.fill("#key", "sk_test_NIGHT_revoked0");
    await owner.click("form:has(#key) button");
    const refused = await owner.textContent("#key-hurt");
    await owner.fill("#key", input.key);
    await owner.check("input[value=wechat_pay]");
    await owner.click("form:has(#key) button");
    await owner.fill("#secret", "whsec_nightferrynightferry");
    await owner.click("form:has(#secret) button");
    await owner.waitForSelector("text=whsec_… erry");
    await look(owner, "treasury-360");
    await owner.setViewportSize({ width: 1440, height: 900 });
    await look(owner, "treasury-1440");
    await owner.goto(`${input.url}/payment-accounts?lang=zh`);
    await look(owner, "treasury-zh-1440");
    // What a wrong key and a declined card are answered with is what the console repeats.
    const expected = () => errors.splice(0, errors.length, ...errors.filter((error) => !/status of 4(02|22)/.test(error)));
    expected();

    const context = await browser.newContext({ viewport: { width: 360, height: 780 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    await page.goto(`${input.url}/f/${input.slug}`);
    await page.selectOption(`select[name="offer-${input.offer}"]`, "1");
    await page.fill("#email", "mara@lindqvist.example");
    await page.fill("#name", "Mara Lindqvist");
    await page.click("button:has-text('Hold for 10 minutes')");
    await page.waitForSelector("[data-until]");
    const order = page.url();
    await look(page, "stripe-held-360");
    await page.check("input[value=stripe]");
    await page.check("input[name=terms]");
    await page.dblclick("button.broad");
    await page.waitForURL("**/c/pay/**");
    const first = page.url();
    // The first card is declined.
    await page.click("button[value=decline]");
    const declined = await page.textContent("[role=alert]");
    expected();
    // Back to the shop: it does not know yet, and leads to the same page.
    await page.click("text=Back");
    await page.waitForSelector("text=We do not know yet");
    await look(page, "stripe-undecided-360");
    const leads = (await page.getAttribute("main a.button", "href")) === first;
    // A second tab of the same order shows the same, and gives the payment up; then another page of the bank is opened.
    const other = await context.newPage();
    watch(other);
    await other.goto(order);
    await other.click("button:has-text('Pay another way')");
    await other.waitForSelector("text=That payment did not come about");
    await look(other, "stripe-again-360");
    await page.goto(first);
    const ended = (await page.textContent("body")).includes("expired");
    await other.check("input[value=stripe]");
    await other.check("input[name=terms]");
    await other.click("button.broad");
    await other.waitForURL("**/c/pay/**");
    await other.click("button[value=pay]");
    await other.waitForSelector(".ticket");
    await look(other, "stripe-paid-360");
    // The first tab finds its order paid.
    await page.goto(order);
    const tickets = await page.locator(".ticket").count();
    await browser.close();
    return { refused, declined, leads, ended, tickets, sideways, errors };
  },

  /** From the page of the festival to the ticket, on a screen of 390 pixels; then a look at 320 and 1440. */
  async buy() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    await page.goto(`${input.url}/f/${input.slug}`);
    await look(page, "festival-390");
    await page.selectOption(`select[name="offer-${input.offer}"]`, "2");
    await page.fill("#email", input.email);
    await page.fill("#name", "Mara Lindqvist");
    await page.click("button:has-text('Hold for 10 minutes')");
    await page.waitForSelector("[data-until]");
    const held = /until \d\d:\d\d:\d\d/.test(await page.textContent("[role=timer]"));
    await look(page, "held-390");
    await page.check("input[value=simulated]");
    await page.check("input[name=terms]");
    await page.click("button.broad");
    await page.waitForSelector("button[value=pay]");
    await look(page, "bank-390");
    await page.click("button[value=pay]");
    await page.waitForSelector(".ticket");
    await look(page, "order-390");
    const tickets = await page.locator(".ticket").count();
    const picture = path.join(pictures, "ticket-code.png");
    await page.locator(".ticket .code").first().screenshot({ path: picture });
    await page.locator("[data-track] .play").first().click();
    const plays = await page.waitForFunction(() => document.querySelector("audio").currentTime > 0, null, { timeout: 15000 }).then(() => true, () => false);
    const address = page.url();
    // A friend opens the link of the second ticket and takes it.
    await page.goto(await page.locator("ol.tracks a[href*='/t/']").nth(1).getAttribute("href"));
    await look(page, "holder-390");
    await page.fill("#name", "Noor Haddad");
    await page.click("button:has-text('Take this ticket')");
    await page.waitForSelector("text=Noor Haddad took this ticket");
    await look(page, "claimed-390");
    await page.goto(address);
    const taken = await page.locator("button:has-text('Take the link back')").count();
    await look(page, "order-claimed-390");
    for (const width of [320, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      for (const [what, url] of [["order", address], ["festival", `${input.url}/f/${input.slug}`], ["chinese", `${input.url}/f/${input.slug}?lang=zh`], ["wall", `${input.url}/?lang=en`], ["nothing", `${input.url}/nothing`]]) {
        if (what === "nothing") errors.length = 0;
        await page.goto(url);
        await look(page, `${what}-${width}`);
      }
    }
    await browser.close();
    // A missing page is said as 404, which the console repeats.
    return { tickets, held, plays, taken, picture, sideways, errors: errors.filter((e) => !e.includes("404")) };
  },

  /** A phone is paired; its camera, fed with the picture of the ticket, is read; the same ticket again is refused. */
  async gate() {
    const video = path.join(pictures, "camera.y4m");
    writeFileSync(video, y4m(input.picture));
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${video}`] });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    await page.goto(`${input.url}/gate`);
    await look(page, "gate-pair-390");
    await page.fill("#code", input.pairing_code);
    await page.fill("#name", "lane 1");
    await page.click("button.broad");
    const verdicts = [];
    for (let n = 0; n < 2; n++) {
      await page.waitForSelector("[data-verdict]", { timeout: 60000 });
      verdicts.push(await page.getAttribute("[data-verdict]", "data-verdict"));
      await look(page, `gate-${verdicts[n]}-390`);
      // The code stays in front of the camera: it is presented again after it was looked at for the first time.
      await page.evaluate(() => { const now = Date.now; Date.now = () => now() + 10000 * (window.later = (window.later ?? 0) + 1); });
      await page.click("[data-next]");
    }
    const reader = await page.getAttribute("[data-stage]", "data-reader");
    await browser.close();
    return { verdicts, reader, errors };
  },

  /** A phone is paired for another festival while a scan waits, and again for the first; the gate that was chosen is gone; its database was closed. */
  async elsewhere() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
    // What closes a database under a page that slept.
    await context.addInitScript(() => {
      const open = IDBFactory.prototype.open;
      IDBFactory.prototype.open = function (...asked) {
        const request = open.apply(this, asked);
        request.addEventListener("success", () => (window.closing = () => request.result.close()));
        return request;
      };
    });
    const page = await context.newPage();
    watch(page);
    const enter = async (code) => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable]");
      const said = await page.locator("[data-stage] section").evaluate((section) => section.dataset.verdict ?? section.dataset.unable);
      await page.click("[data-next]");
      return said;
    };
    const waiting = () => page.evaluate(() => Number(document.querySelector("[data-offline]").dataset.waiting));
    const kept = () => page.evaluate(() => new Promise((done) => {
      const request = indexedDB.open("gatefold-gate");
      request.onsuccess = () => (request.result.transaction("queue").objectStore("queue").count().onsuccess = ({ target }) => done(target.result));
    }));
    const nobody = (route) => route.abort();
    const seen = {};
    await pair(page, input.first, 2);
    // The server says nothing of scans and reports, so what is scanned waits here.
    await page.route("**/v1/scans", nobody);
    await page.route("**/v1/scan-batches", nobody);
    await page.evaluate(() => window.closing());
    seen.closed = await enter(input.codes[0]);
    seen.waits = await waiting();
    await context.clearCookies();
    await pair(page, input.other, 0);
    await page.waitForFunction(() => document.querySelector("[data-offline]").dataset.waiting === "0");
    seen.there = [await waiting(), await kept()];
    await context.clearCookies();
    // The gate that was chosen last is none of its gates any more.
    await page.evaluate((festival) => localStorage.setItem(`gatefold-gate-${festival}`, crypto.randomUUID()), input.festival);
    await pair(page, input.again, 2);
    await page.waitForFunction(() => document.querySelector("[data-offline]").dataset.waiting === "1");
    seen.back = await waiting();
    await page.unroute("**/v1/scans");
    await page.unroute("**/v1/scan-batches");
    await page.waitForFunction(() => document.querySelector("[data-offline]").dataset.waiting === "0", null, { timeout: 30_000 });
    seen.left = await kept();
    await page.waitForSelector("[data-stage][data-link=online]", { timeout: 30_000 });
    seen.stale = await enter(input.codes[1]);
    await browser.close();
    return { ...seen, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },

  /** A member gives a part of an order back, and what the bank refuses is withdrawn. */
  async refund() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, locale: "en-GB" });
    const [name, value] = input.session.split("=");
    await context.addCookies([{ name, value, url: input.url }]);
    const page = await context.newPage();
    watch(page);
    const seen = {};
    const said = (selector) => page.locator(selector).innerText();
    await page.goto(`${input.url}/desk/night-ferry`);
    await page.click(`a[href$="${input.order}"]`);
    await look(page, "refund-order-360");
    const ask = async () => {
      await page.check("[name=what][value=parts]");
      await page.fill("#units-1", "1");
      await page.fill("#kept", "5.00");
      await page.click("#give-back button");
    };
    // Nothing is chosen, and an amount that is none: the form says so and keeps what was typed.
    await page.check("[name=what][value=parts]");
    await page.click("#give-back button");
    seen.none = await said("#give-back-hurt");
    await page.fill("#units-1", "1");
    await page.fill("#kept", "five");
    await page.click("#give-back button");
    seen.five = [await said("#give-back-hurt"), await page.inputValue("#units-1")];
    await ask();
    seen.sure = await said("h1");
    await look(page, "refund-sure-360");
    // Twice by an impatient hand.
    await page.dblclick("[name=sure]");
    await page.waitForURL(/#refunds$/);
    seen.asked = await page.locator("section[aria-labelledby=refunds] .ledger > li").count();
    // The test lets the bank refuse it meanwhile.
    for (let i = 0; i < 60 && !(await page.locator("[name=decision]").count()); i += 1) {
      await page.waitForTimeout(500);
      await page.reload();
    }
    await look(page, "refund-refused-360");
    await page.goto(`${input.url}/desk/night-ferry/money`);
    seen.cases = await page.locator("section[aria-labelledby=cases] .ledger > li").count();
    await look(page, "refund-money-360");
    await page.click(`section[aria-labelledby=cases] a[href$="${input.order}"]`);
    await page.click("form:has([name=decision][value=withdrawn]) button");
    await page.waitForURL(/#refunds$/);
    seen.valid = await page.locator("section[aria-labelledby=tickets] li", { hasText: "valid" }).count();
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(`${page.url().split("#")[0]}?lang=zh`);
    await look(page, "refund-order-1440-zh");
    await browser.close();
    return { ...seen, sideways, errors };
  },

  /** Waits for what is sold out, agrees to a transfer, hands back, chooses; sells at the door and takes money in. */
  async lists() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 360, height: 740 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    const seen = {};
    const title = () => page.locator("h1:not(.unseen), h2").first().innerText();
    await page.goto(`${input.url}/f/night-ferry`);
    await page.click("a[href*='/waiting-lists/']");
    await look(page, "list-360");
    await page.fill("#email", "noor@x.example");
    await page.click("button.broad");
    seen.joined = await title();
    await page.goto(input.waits);
    await page.locator("form[action$='/agreements'] input[name=terms]").check();
    await page.locator("form[action$='/agreements'] button").click();
    await page.waitForURL(/#agreed$/);
    seen.agreed = await page.locator("#agreed").innerText();
    await look(page, "list-agreed-360");
    await page.goto(input.paid);
    await page.locator("summary", { hasText: "pool" }).click();
    await page.locator("form[action$='/hand-backs'] input[name=ticket]").first().check();
    await page.locator("form[action$='/hand-backs'] button").click();
    await page.waitForURL(/#pool$/);
    seen.pool = await page.locator("#pool li").innerText();
    await page.locator("#options button[value=keep]").click();
    await page.waitForURL(/#options$/);
    seen.chosen = await page.locator("#options [role=status]").innerText();
    await page.click("#rescission button");
    seen.sure = await title();
    await look(page, "list-rescind-360");
    await page.dblclick("button[name=sure]");
    await page.waitForURL(/#money-back$/);
    seen.rescindable = await page.locator("#rescission").count();
    await look(page, "list-order-360");
    const [name, value] = input.session.split("=");
    await context.addCookies([{ name, value, url: input.url }]);
    await page.goto(`${input.url}/desk/night-ferry`);
    await page.click("a[href$='/box-office']");
    await look(page, "list-office-360");
    // Given away without a reason: the form says so and keeps what was chosen.
    const sell = "form[action$='/box-office/sales']";
    await page.locator(`${sell} select`).first().selectOption("2");
    await page.check(`${sell} input[value=comp]`);
    await page.click(`${sell} button.button`);
    seen.why = [await page.locator("#why").innerText(), await page.locator(`${sell} select`).first().inputValue()];
    await page.check(`${sell} input[value=cash]`);
    await page.dblclick(`${sell} button.button`);
    await page.waitForURL(/\/sales\//);
    seen.sold = await page.locator(".counter").innerText();
    await look(page, "list-sold-360");
    await page.click("main .actions a.button >> nth=0");
    await page.locator("form[action$='/collections'] button[value=bank_transfer]").click();
    await page.waitForLoadState();
    seen.taken = await page.locator("section[aria-labelledby=takings] tbody tr").count();
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(`${input.url}/desk/night-ferry/options?lang=zh`);
    await look(page, "list-rounds-1440-zh");
    await browser.close();
    // The one refusal that the scene asks for is said by its status, too.
    return { ...seen, sideways, errors: errors.filter((error) => !error.includes("status of 422")) };
  },

  /** How long it takes from a ticket before the camera to its verdict, one after the other, in milliseconds. */
  async swift() {
    const video = path.join(pictures, "swift.y4m");
    writeFileSync(video, y4m(...input.pictures));
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${video}`] });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    await pair(page, input.pairing_code, input.tickets);
    await page.waitForSelector("[data-stage][data-reader]");
    const took = await page.evaluate(async (count) => {
      const video = document.querySelector("[data-video]");
      const stage = document.querySelector("[data-stage]");
      const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      const took = [];
      let [isThere, since] = [true, null];
      const frame = () => {
        pen.drawImage(video, 0, 0, video.videoWidth / 32, video.videoHeight / 32, 0, 0, 1, 1);
        const sees = pen.getImageData(0, 0, 1, 1).data[0] < 128;
        // The whole of its second is before it, or it is not measured.
        if (sees && !isThere) since = performance.now();
        isThere = sees;
        video.requestVideoFrameCallback(frame);
      };
      video.requestVideoFrameCallback(frame);
      await new Promise((done) => {
        new MutationObserver(() => {
          if (!stage.querySelector("[data-verdict]")) return;
          // By then the picture is white again.
          setTimeout(() => stage.querySelector("[data-next]").click(), 1_100);
          if (since === null) return;
          took.push(Math.round(performance.now() - since));
          since = null;
          if (took.length === count) done();
        }).observe(stage, { childList: true });
      });
      return took;
    }, input.pictures.length);
    const reader = await page.getAttribute("[data-stage]", "data-reader");
    await browser.close();
    return { took, reader, errors };
  },

  /**
   * A gate loses its network: three people come in, the page is opened again, somebody tries a second time, the network comes back. Then the server hangs
   * instead of being gone. In the end the browser is killed amid its writes. What was shown is what is reported.
   */
  async offline() {
    const folder = mkdtempSync(path.join(tmpdir(), "gatefold-gate-"));
    // Chromium has the right to be killed: its profile stays.
    const open = async () => {
      const context = await chromium.launchPersistentContext(folder, { executablePath, args: quiet, viewport: { width: 390, height: 844 }, locale: input.locale ?? "en-GB" });
      const page = context.pages()[0] ?? (await context.newPage());
      page.on("pageerror", (error) => errors.push(String(error)));
      return [context, page];
    };
    const shown = async (page, code) => {
      const began = Date.now();
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable]");
      const verdict = await page.locator("[data-stage] section").evaluate((section) => ({ ...section.dataset, look: section.className.split(" ")[1] }));
      const ms = Date.now() - began;
      return { verdict: verdict.verdict ?? verdict.unable, offline: "offlineVerdict" in verdict, look: verdict.look, ms };
    };
    const next = (page) => page.click("[data-next]");
    const waiting = (page, n) => page.waitForFunction((n) => document.querySelector("[data-offline]").dataset.waiting === String(n), n, { timeout: 30_000 });
    const listed = (page) => page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, input.tickets, { timeout: 30_000 });

    let [context, page] = await open();
    await page.goto(`${input.url}/gate`);
    await page.fill("#code", input.pairing_code);
    await page.fill("#name", "lane 1");
    await page.click("button.broad");
    await listed(page);
    await page.evaluate(() => navigator.serviceWorker.ready.then(({ active }) => active.state === "activated" || new Promise((done) => active.addEventListener("statechange", done))));
    const seen = { online: await shown(page, input.codes[0]) };
    await look(page, "gate-online-390");
    await next(page);
    // A look has no effect; exits look otherwise, so that nobody counts the wrong way.
    await page.check("input[value=look]", { force: true });
    seen.look = await shown(page, input.codes[1]);
    seen.lookSays = await page.textContent("[data-stage] h1");
    await look(page, "gate-look-390");
    await page.check("input[value=exit]", { force: true });
    await look(page, "gate-exit-390");
    await page.check("input[value=entry]", { force: true });
    // By itself: nobody taps, and the last one can still be taken back, here by its own device.
    await page.click("[data-auto]");
    seen.byItself = await shown(page, input.codes[19]);
    await page.waitForSelector("[data-finder]");
    seen.strip = await page.textContent("[data-last] span");
    await look(page, "gate-strip-390");
    await page.click("[data-undo-last]");
    await page.waitForSelector("[data-verdict]");
    seen.takenBack = await page.textContent("[data-stage] h1");
    await page.waitForSelector("[data-finder]");
    await page.click("[data-auto]");

    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    seen.offline = [];
    for (const code of input.codes.slice(1, 4)) {
      seen.offline.push(await shown(page, code));
      await look(page, "gate-offline-admitted-390");
      await next(page);
    }
    await waiting(page, 3);
    await page.reload();
    await waiting(page, 3);
    seen.banner = await page.textContent("[data-offline]");
    await look(page, "gate-offline-waiting-390");
    // The first was admitted by the server, the second by this phone; both are in.
    seen.again = [await shown(page, input.codes[0])];
    await next(page);
    seen.again.push(await shown(page, input.codes[1]));
    await look(page, "gate-offline-repeat-390");
    await next(page);
    seen.forged = await shown(page, input.forged);
    await look(page, "gate-offline-forged-390");
    await next(page);
    await context.setOffline(false);
    await waiting(page, 0);
    await page.waitForSelector("[data-stage][data-link=online]", { timeout: 30_000 });

    // Put away and taken out again, as phones are: a browser writes its cookies by the way.
    await context.close();
    [context, page] = await open();
    await page.goto(`${input.url}/gate`);
    await listed(page);
    // One answer is lost and the server is there again, but not yet the report: what is taken back is taken back here, where the entry is.
    await page.route("**/v1/scans", (route) => route.abort());
    await page.route("**/v1/scan-batches", (route) => route.abort());
    seen.lost = await shown(page, input.codes[13]);
    await page.unroute("**/v1/scans");
    await page.click("[data-undo]");
    await page.waitForSelector(".passing");
    seen.undone = await page.locator("[data-stage] section").evaluate((section) => [section.dataset.verdict, "offlineVerdict" in section.dataset]);
    await next(page);
    await page.unroute("**/v1/scan-batches");
    await waiting(page, 0);
    // The server hangs: the phone decides in time, and from the second on at once.
    await page.route("**/v1/**", () => {});
    seen.hanging = [];
    for (const code of input.codes.slice(4, 7)) {
      seen.hanging.push(await shown(page, code));
      await next(page);
    }
    // Killed while it writes: every verdict that was shown is there again, whether or not the next one was on its way.
    let kept = 4;
    for (const code of input.codes.slice(7, 12)) {
      await shown(page, code);
      kept += 1;
      await next(page);
    }
    await page.fill("#typed", input.codes[12]);
    page.press("#typed", "Enter").catch(() => {});
    execFileSync("pkill", ["-9", "-f", folder]);
    await context.close().catch(() => {});
    [context, page] = await open();
    await page.goto(`${input.url}/gate`);
    // They are reported as soon as the page is there again; the test counts them.
    await page.waitForFunction(() => document.querySelector("[data-offline]")?.dataset.waiting === "0", null, { timeout: 30_000 });
    await listed(page);
    seen.after = await shown(page, input.codes[11]);
    await context.close();
    rmSync(folder, { recursive: true, force: true });
    return { ...seen, kept, sideways, errors };
  },

  /**
   * The rules that a phone without network keeps: a zone that is full, who of an order is missing, where and when a ticket came in first, and, once it heard of
   * it, a hold.
   */
  async rules() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB" });
    const page = await context.newPage();
    watch(page);
    const shown = async (code) => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable]");
      const verdict = await page.locator("[data-stage] section").evaluate((section) => [section.querySelector("h1").textContent, section.querySelector(".reason")?.textContent ?? null, "offlineVerdict" in section.dataset]);
      const more = await page.locator("[data-stage] .more").allTextContents();
      return [...verdict, more.join(" | ")];
    };
    // The digest of the list is another one, once: the phone fetches the whole list again.
    let bent = false;
    await page.route("**/v1/pack?*", async (route) => {
      const response = await route.fetch();
      const body = await response.body();
      const at = body.indexOf('"list_digest":"') + 15;
      if (at > 15 && !bent) [bent, body[at]] = [true, body[at] === 48 ? 49 : 48];
      await route.fulfill({ response, body });
    });
    const again = page.waitForRequest((request) => bent && request.url().includes("/v1/pack?tickets=0"), { timeout: 30_000 });
    await page.goto(`${input.url}/gate`);
    await page.fill("#code", input.pairing_code);
    await page.fill("#name", "lane 1");
    await page.click("button.broad");
    const has = (text) => page.waitForResponse(async (answer) => answer.url().includes("/v1/pack") && (await answer.text()).includes(text), { timeout: 20_000 });
    await page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, input.codes.length, { timeout: 30_000 });
    await again;
    await page.waitForResponse((answer) => answer.url().includes("/v1/pack") && !answer.url().includes("tickets=0"), { timeout: 30_000 });
    await page.unroute("**/v1/pack?*");
    const seen = { first: await shown(input.codes[0]) };
    await look(page, "gate-others-390");
    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    await page.click("[data-next]");
    seen.handed = await shown(input.tent);
    await page.click("[data-next]");
    seen.second = await shown(input.codes[1]);
    await page.click("[data-next]");
    seen.full = await shown(input.codes[2]);
    await look(page, "gate-full-390");
    await page.click("[data-next]");
    seen.elsewhere = await shown(input.elsewhere);
    await look(page, "gate-elsewhere-390");
    await page.click("[data-next]");
    await context.setOffline(false);
    await page.waitForSelector("[data-stage][data-link=online]", { timeout: 30_000 });
    const heard = has('"began_at"');
    await fetch(`${input.url}${input.holds}`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${input.token}` }, body: "{}" });
    await heard;
    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    seen.held = await shown(input.codes[2]);
    await look(page, "gate-held-390");
    await browser.close();
    return { ...seen, sideways, errors };
  },

  /** How long a phone takes to decide with a list of so many tickets, half of them in, and what the list weighs. */
  /** A supervisor's card before the camera lets in after a refusal; a fan's ticket before it is no card. */
  async card() {
    const before = async (picture) => {
      const video = path.join(pictures, `${path.basename(picture)}.y4m`);
      writeFileSync(video, y4m(picture));
      const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${video}`] });
      const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB", permissions: ["camera"] });
      const page = await context.newPage();
      watch(page);
      await page.goto(`${input.url}/gate#${input.pairing_code}`);
      await page.fill("#name", "lane 1");
      await page.click("button.broad");
      await page.waitForSelector("[data-stage][data-reader]", { timeout: 20_000 });
      return page;
    };
    const seen = {};
    const card = await before(input.pictures.card);
    await card.waitForSelector("[data-unable=card]", { timeout: 60_000 });
    await card.click("[data-next]");
    await card.fill("#typed", input.code);
    await card.press("#typed", "Enter");
    await card.waitForSelector("[data-verdict=refused]");
    await card.click("[data-override]");
    await card.waitForSelector("[data-asked=why]", { timeout: 30_000 });
    seen.by = await card.textContent("[data-stage] .more:not([hidden])");
    await card.click("[data-because=our_mistake]");
    await card.waitForSelector("[data-verdict=admitted]");
    seen.because = await card.getAttribute("[data-because]", "data-because");
    await card.context().browser().close();
    const ticket = await before(input.pictures.ticket);
    await ticket.waitForSelector("[data-verdict=refused]", { timeout: 60_000 });
    await ticket.click("[data-override]");
    await ticket.waitForSelector("[data-asked=who]");
    // Long enough for several pictures.
    await ticket.waitForTimeout(3_000);
    seen.asked = await ticket.getAttribute("[data-asked]", "data-asked");
    seen.quiet = await ticket.locator("[data-stage] .trouble").isHidden();
    await ticket.context().browser().close();
    return { ...seen, errors };
  },
  async twins() {
    // Two browsers, two phones; neither hears of the other until its network is back.
    const phones = await Promise.all(
      input.pairing_codes.map(async (pairing_code, i) => {
        const browser = await chromium.launch({ executablePath, args: quiet });
        const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: "en-GB" });
        const page = await context.newPage();
        watch(page);
        await page.goto(`${input.url}/gate#${pairing_code}`);
        await page.fill("#name", `lane ${i + 1}`);
        await page.click("button.broad");
        await page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, 1, { timeout: 30_000 });
        return { browser, context, page };
      }),
    );
    for (const { context, page } of phones) {
      await context.setOffline(true);
      await page.waitForSelector("[data-stage][data-link=offline]");
    }
    const verdicts = [];
    for (const { page } of phones) {
      await page.fill("#typed", input.code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict]");
      verdicts.push(await page.locator("[data-stage] section").evaluate((section) => [section.dataset.verdict, "offlineVerdict" in section.dataset]));
      await page.waitForTimeout(1_200);
    }
    for (const i of input.order) {
      const { context, page } = phones[i];
      await context.setOffline(false);
      await page.waitForFunction(() => document.querySelector("[data-offline]").dataset.waiting === "0", null, { timeout: 30_000 });
    }
    await Promise.all(phones.map(({ browser }) => browser.close()));
    return { verdicts, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },
  async supervisor() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] });
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, locale: input.locale ?? "en-GB", permissions: ["camera"] });
    const page = await context.newPage();
    watch(page);
    const shown = () => page.locator("[data-stage] section").evaluate((section) => ({
      word: section.querySelector("h1").textContent,
      reason: section.querySelector(".reason")?.textContent ?? null,
      because: section.querySelector("[data-because]")?.dataset.because ?? null,
      practice: Boolean(section.querySelector("[data-practice]")),
      offline: "offlineVerdict" in section.dataset,
    }));
    const scan = async (code) => {
      await page.fill("#typed", code);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-verdict], [data-unable]");
      return shown();
    };
    const next = () => page.click("[data-next]");
    const asks = (what) => page.waitForSelector(`[data-asked=${what}]`);
    const overridden = async (why) => {
      await page.click(`[data-because=${why}]`);
      await page.waitForSelector("[data-verdict=admitted]");
      return shown();
    };
    const seen = {};
    // The address of a sheet carries the code; it is gone from the address bar.
    await page.goto(`${input.url}/gate#${input.pairing_code}`);
    seen.code = await page.inputValue("#code");
    seen.address = page.url();
    await look(page, "gate-pair-390");
    await page.fill("#name", "lane 1");
    await page.click("button.broad");
    await page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, input.codes.length, { timeout: 30_000 });
    await page.waitForSelector("[data-stage][data-reader]", { timeout: 20_000 });

    await page.click("[data-open-phone]");
    await page.waitForSelector("[data-ability=shakes]");
    seen.abilities = await page.locator("[data-ability]").evaluateAll((lines) => Object.fromEntries(lines.map((line) => [line.dataset.ability, [line.dataset.can, line.textContent]])));
    await look(page, "gate-phone-390");
    await page.click("[data-practice=refused]");
    await page.waitForSelector("[data-verdict=refused]");
    seen.practice = await shown();
    await look(page, "gate-practice-390");
    await next();

    seen.first = await scan(input.codes[0]);
    await next();
    seen.card = await scan(input.card);
    await next();
    await scan(input.codes[0]);
    await page.click("[data-override]");
    await asks("who");
    await look(page, "gate-override-who-390");
    await page.click("[data-sign-in]");
    await page.fill("#digits", input.digits === "111111" ? "222222" : "111111");
    await page.press("#digits", "Enter");
    await page.waitForSelector("[data-supervisor] .trouble:not([hidden])");
    seen.wrong = await page.textContent("[data-supervisor] .trouble");
    await look(page, "gate-sign-in-390");
    await page.fill("#digits", input.digits);
    await page.press("#digits", "Enter");
    await asks("why");
    await look(page, "gate-override-why-390");
    await page.click("[data-because=other]");
    seen.note = await page.textContent("[data-stage] .trouble");
    seen.signedIn = await overridden("left_unscanned");
    await look(page, "gate-overridden-390");
    await next();

    await page.click("[data-open-supervisor]");
    seen.who = await page.textContent("[data-who]");
    await page.fill("#sought", input.name);
    await page.press("#sought", "Enter");
    await page.waitForSelector("[data-found] [data-ticket]");
    seen.found = await page.locator("[data-found] li").allTextContents();
    await look(page, "gate-search-390");
    await page.click("[data-found] [data-ticket]");
    await page.waitForSelector("[data-verdict]");
    seen.searched = await shown();
    await next();
    // Signed out without network, nobody is signed in again: neither by a reload, nor when the network is back.
    await page.waitForFunction(() => navigator.serviceWorker.controller || navigator.serviceWorker.ready);
    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    await page.click("[data-open-supervisor]");
    await page.click("[data-sign-out]");
    await page.waitForSelector("[data-open-supervisor][aria-pressed=false]");
    await page.reload();
    await page.waitForFunction((n) => Number(document.querySelector("[data-list]")?.dataset.tickets) >= n, input.codes.length, { timeout: 30_000 });
    seen.leftReloaded = await page.getAttribute("[data-open-supervisor]", "aria-pressed");
    const left = page.waitForResponse((answer) => answer.url().endsWith("/v1/device-shifts/ends") && answer.ok(), { timeout: 30_000 });
    await context.setOffline(false);
    await left;
    await page.waitForSelector("[data-stage][data-link=online]", { timeout: 30_000 });
    await page.waitForResponse((answer) => answer.url().endsWith("/v1/heartbeats") && answer.ok(), { timeout: 20_000 });
    seen.leftBack = await page.getAttribute("[data-open-supervisor]", "aria-pressed");

    // Without network a card is checked by the phone.
    await context.setOffline(true);
    await page.waitForSelector("[data-stage][data-link=offline]");
    await scan(input.codes[1]);
    await next();
    await scan(input.codes[1]);
    await page.click("[data-override]");
    await asks("who");
    for (const bad of input.bad) {
      await page.locator("[data-stage] .trouble").evaluate((said) => (said.hidden = true));
      await page.fill("#typed", bad);
      await page.press("#typed", "Enter");
      await page.waitForSelector("[data-stage] .trouble:not([hidden])");
    }
    seen.bad = await page.textContent("[data-stage] .trouble");
    await page.fill("#typed", input.card);
    await page.press("#typed", "Enter");
    await asks("why");
    seen.byCard = await overridden("hardship");
    await next();
    // The card is good for one.
    await scan(input.codes[1]);
    await page.click("[data-override]");
    await asks("who");
    await page.fill("#typed", input.card);
    await page.press("#typed", "Enter");
    await page.waitForSelector("[data-stage] .trouble:not([hidden])");
    seen.usedUp = await page.textContent("[data-stage] .trouble");
    await next();
    await context.setOffline(false);
    await page.waitForSelector("[data-stage][data-link=online]", { timeout: 30_000 });
    await page.waitForFunction(() => document.querySelector("[data-offline]").dataset.waiting === "0", null, { timeout: 30_000 });
    await browser.close();
    // What the server refuses the browser notes as an error of its own.
    return { ...seen, sideways, errors: errors.filter((error) => !error.startsWith("Failed to load resource")) };
  },
  async carry() {
    const browser = await chromium.launch({ executablePath, args: [...quiet, "--enable-precise-memory-info", "--js-flags=--expose-gc"] });
    const page = await browser.newPage();
    watch(page);
    await page.goto(`${input.url}/gate`);
    const seen = await page.evaluate(async (count) => {
      const [{ Pack, read }, { importKey, verify }, { decide }] = await Promise.all(["pack", "code", "decide"].map((name) => import(`/assets/gate-${name}.js`)));
      const festival = 217;
      const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
      const key = { key_id: 1, state: "active", public_key: btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)))) };
      const numbers = BigUint64Array.from({ length: count }, (_, n) => (BigInt(n) << 24n) | BigInt(Math.floor(Math.random() * 2 ** 24)));
      const records = (size, from, to, fill) => {
        const bytes = new Uint8Array(4 + (to - from) * size);
        const view = new DataView(bytes.buffer);
        view.setUint32(0, to - from);
        for (let n = from; n < to; n++) {
          view.setBigUint64(4 + (n - from) * size, numbers[n]);
          fill(view, 4 + (n - from) * size);
        }
        return bytes;
      };
      const pack = (head, tickets, admissions, bands) => {
        const json = new TextEncoder().encode(JSON.stringify({ server_time: new Date().toISOString(), festival_id: festival, ...head }));
        const length = new Uint8Array(4);
        new DataView(length.buffer).setUint32(0, json.length);
        return new Blob([new TextEncoder().encode("GFP4"), length, json, tickets, admissions, bands, new Uint8Array(4)]).arrayBuffer();
      };
      // Three tickets an order; whoever is in came by the one gate, which leads to a zone that is counted.
      const ticket = (view, at) => { view.setUint16(at + 8, 1); view.setUint16(at + 10, 7); view.setUint32(at + 14, Number(view.getBigUint64(at) >> 24n) / 3); };
      const entry = (view, at) => { view.setUint8(at + 9, 1); view.setUint32(at + 11, 0x8a000001); view.setUint32(at + 15, 1_000); };
      const band = (view, at) => view.setBigUint64(at + 8, view.getBigUint64(at) ^ 0xb0b0b0b0b0b0b0b0n);
      const gates = [{ gate_id: "00000000-0000-8000-8a00-000100000000", zone_id: "dock", name: { en: "Dock" } }];
      const whole = await pack({ from: { tickets: 0, admissions: 0 }, to: { tickets: count, admissions: count }, digest: "", rules: { gates } }, records(18, 0, count, ticket), records(19, 0, count / 2, entry), records(16, 0, count / 2, band));
      const deltas = [];
      for (let at = count / 2; at < count / 2 + 10_000; at += 2_000) deltas.push(await pack({ from: { tickets: 1, admissions: 1 }, to: { tickets: count, admissions: at } }, records(18, at, at, ticket), records(19, at, at + 2_000, entry), records(16, at, at + 1, band)));
      const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
      const codes = [];
      for (let n = 0; n < 1_000; n++) {
        const body = new Uint8Array(24);
        const view = new DataView(body.buffer);
        body.set([0x11, 1]);
        view.setUint32(2, festival);
        view.setBigUint64(6, numbers[Math.floor(Math.random() * count)]);
        view.setUint16(14, 1);
        view.setUint16(16, 7);
        view.setUint32(20, 2_000_000_000);
        const signature = await crypto.subtle.sign("Ed25519", pair.privateKey, new Uint8Array([...new TextEncoder().encode("gatefold-ticket-v1\0"), ...body]));
        let bits = "";
        for (const byte of [...body, ...new Uint8Array(signature)]) bits += byte.toString(2).padStart(8, "0");
        codes.push(`G1${bits.match(/.{1,5}/g).map((five) => alphabet[parseInt(five.padEnd(5, "0"), 2)]).join("")}`);
      }
      const keys = [{ ...key, imported: await importKey(key) }];
      gc();
      const heap = performance.memory.usedJSHeapSize;
      let began = performance.now();
      const list = new Pack();
      list.take(read(whole));
      const taking = performance.now() - began;
      gc();
      const grown = performance.memory.usedJSHeapSize - heap;
      const ground = { days: [{ day_index: 0, opens_at: 0, closes_at: Infinity }], holds: [], clearings: [], inner: [] };
      const rules = { zone_ids: [], reentry: "after_exit", instruction: null };
      const verdicts = {};
      const times = [];
      for (const text of codes) {
        const start = performance.now();
        const { code, reason } = await verify(text, festival, keys);
        const known = code && list.ticket(code.number);
        // All that a phone looks at: who else of the order is in, and how many are in the zone.
        const others = list.others(code.number).filter((other) => !list.entries(other.number).length).length;
        const presented = { kind: "entry", generation: 0, zone_id: "dock", checked: null, at: 2_000_000, company: others < 3, places: count - list.inside("dock", 0, 0) };
        const verdict = reason ?? (known ? decide(known, list.entries(code.number), rules, ground, presented) : { reason: "unknown" });
        times.push(performance.now() - start);
        const said = verdict.reason ?? verdict.verdict ?? verdict;
        verdicts[said] = (verdicts[said] ?? 0) + 1;
      }
      times.sort((a, b) => a - b);
      const deltaMs = deltas.map((delta) => {
        began = performance.now();
        list.take(read(delta));
        return Math.round(performance.now() - began);
      });
      began = performance.now();
      const wearers = [0, count / 2 - 1, count / 2, count - 1].map((n) => list.wearer(numbers[n] ^ 0xb0b0b0b0b0b0b0b0n) === numbers[n]);
      const bandMs = (performance.now() - began) / 4;
      const counted = list.inside("dock", 0, 0);
      const inside = [0, count / 2 + 9_999, count - 1].map((n) => list.entries(numbers[n]).length);
      // Numbers begin with the time they were given at, in steps of 16 seconds, of which 24 bits are kept.
      const given = (ms) => list.isNewer(((BigInt(Math.floor(ms / 16_000)) & 0xffffffn) << 40n) | 5n);
      const newer = [Date.now() + 60_000, Date.now(), Date.now() - 120_000, Date.now() - 300 * 86_400_000].map(given);
      return { wearers, bandMs, newer, counted, bytes: whole.byteLength, verdicts, p50: times[500], p99: times[990], taking, grown, deltaMs, inside, size: list.size };
    }, input.tickets);
    await browser.close();
    return { ...seen, errors };
  },

  /** Every pair of colors for every spot of 18 levels a channel, as it is rendered: the least contrast (WCAG 2.2), by day and by night. */
  async sweep() {
    const browser = await chromium.launch({ executablePath, args: quiet });
    const page = await browser.newPage();
    watch(page);
    await page.goto(input.url);
    const least = {};
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      least[colorScheme] = await page.evaluate(({ pairs, levels }) => {
        const names = [...new Set(pairs.flat())];
        const sleeve = document.body.appendChild(document.createElement("div"));
        sleeve.dataset.sleeve = "sweep";
        const probes = names.map((name) => {
          const probe = sleeve.appendChild(document.createElement("i"));
          probe.style.backgroundColor = `var(${name})`;
          return getComputedStyle(probe);
        });
        const spots = [];
        const level = (n) => Math.round((n * 255) / (levels - 1)).toString(16).padStart(2, "0");
        for (let r = 0; r < levels; r++) for (let g = 0; g < levels; g++) for (let b = 0; b < levels; b++) spots.push(`#${level(r)}${level(g)}${level(b)}`);
        const canvas = Object.assign(document.createElement("canvas"), { width: names.length, height: spots.length });
        const pen = canvas.getContext("2d", { willReadFrequently: true });
        spots.forEach((spot, y) => {
          sleeve.style.setProperty("--spot", spot);
          probes.forEach((probe, x) => {
            // A color that the canvas cannot read leaves this one, which no pair survives.
            pen.fillStyle = "#808080";
            pen.fillStyle = probe.backgroundColor;
            pen.fillRect(x, y, 1, 1);
          });
        });
        const { data } = pen.getImageData(0, 0, names.length, spots.length);
        const linear = (byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
        const light = (name, y) => {
          const at = (y * names.length + names.indexOf(name)) * 4;
          return 0.2126 * linear(data[at]) + 0.7152 * linear(data[at + 1]) + 0.0722 * linear(data[at + 2]);
        };
        return pairs.map(([over, under]) => {
          let worst = { contrast: 22 };
          spots.forEach((spot, y) => {
            const [a, b] = [light(over, y), light(under, y)];
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (contrast < worst.contrast) worst = { contrast, spot };
          });
          return { over, under, spots: spots.length, shades: new Set(spots.map((_, y) => light(over, y))).size, ...worst };
        });
      }, input);
    }
    await browser.close();
    return { ...least, errors };
  },
};

/** A grey picture (PNG without interlace, as Chromium writes it) as a still video of 640 x 640, uncompressed; several: each for a second, white between. */
function y4m(...files) {
  const side = 640;
  const white = Buffer.alloc(side * side, 235);
  const chroma = Buffer.alloc((side * side) / 2, 128);
  const second = (luma) => Array.from({ length: 20 }, () => [Buffer.from("FRAME\n"), luma, chroma]).flat();
  const frames = files.flatMap((file) => [...(files.length > 1 ? second(white) : []), ...second(before(file, side))]);
  return Buffer.concat([Buffer.from(`YUV4MPEG2 W${side} H${side} F20:1 Ip A1:1 C420jpeg\n`), ...frames]);
}

/** What a camera sees of a picture; a black patch in the corner says that it is there. */
function before(file, side) {
  const { width, height, grey } = png(readFileSync(file));
  const luma = Buffer.alloc(side * side, 235);
  const scale = 480 / width;
  for (let y = 0; y < 40; y++) luma.fill(16, y * side, y * side + 40);
  for (let y = 0; y < 480; y++) for (let x = 0; x < 480; x++) {
    const value = grey[Math.min(height - 1, Math.floor(y / scale)) * width + Math.min(width - 1, Math.floor(x / scale))];
    luma[(y + 80) * side + x + 80] = 16 + (value * 219) / 255;
  }
  return luma;
}

/** The pixels of a PNG of 8 bits, grey, RGB or RGBA, in grey. */
function png(bytes) {
  const width = bytes.readUInt32BE(16);
  const height = bytes.readUInt32BE(20);
  const channels = { 0: 1, 2: 3, 6: 4 }[bytes[25]];
  const data = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (bytes.toString("latin1", at + 4, at + 8) === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= channels ? pixels[y * stride + x - channels] : 0;
      const up = y ? pixels[(y - 1) * stride + x] : 0;
      const corner = y && x >= channels ? pixels[(y - 1) * stride + x - channels] : 0;
      const p = left + up - corner;
      const near = [left, up, corner].reduce((a, b) => (Math.abs(p - b) < Math.abs(p - a) ? b : a));
      pixels[y * stride + x] = raw[y * (stride + 1) + 1 + x] + [0, left, up, (left + up) >> 1, near][filter];
    }
  }
  const grey = Buffer.alloc(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = channels === 1 ? pixels[i] : (pixels[i * channels] * 3 + pixels[i * channels + 1] * 6 + pixels[i * channels + 2]) / 10;
  return { width, height, grey };
}

const seen = await scenes[name]();
console.log(JSON.stringify(seen));
