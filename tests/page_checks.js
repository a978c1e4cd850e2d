({
  // What is wider than the window; what may scroll by itself excepted.
  overflow() {
    const wide = (node) => node.checkVisibility() && !node.closest(".scroll, .unseen, .skip") && node.getBoundingClientRect().right > innerWidth + 1;
    const page = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
    return [...page, ...[...document.querySelectorAll("body *")].filter(wide).map((node) => node.outerHTML.slice(0, 90))];
  },

  // What is too small for a finger: less than 44 pixels high.
  small() {
    const found = [...document.querySelectorAll("button, .button, .choice, .switch, summary, textarea, input[type=number], a")];
    const shown = (node) => node.checkVisibility() && !node.closest(".skip, td");
    return found.filter((node) => shown(node) && node.getBoundingClientRect().height < 43.9).map((node) => node.outerHTML.slice(0, 90));
  },

  // Texts, and those whose contrast with what is behind them is less than WCAG 2.2 AA asks for; what is off excepted.
  contrast() {
    const parse = (text) => {
      const numbers = text.match(/[\d.]+/g).map(Number);
      return [...numbers.slice(0, 3), numbers[3] ?? 1];
    };
    const over = ([r, g, b, a], back) => [r, g, b].map((c, i) => c * a + back[i] * (1 - a));
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const light = (rgb) => rgb.reduce((sum, c, i) => sum + linear(c / 255) * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => (node ? over(parse(getComputedStyle(node).backgroundColor), behind(node.parentElement)) : [255, 255, 255]);
    const faint = [];
    let texts = 0;
    for (const node of document.querySelectorAll("body *")) {
      const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!own && !node.matches("input[type=number], textarea")) continue;
      if (!node.checkVisibility() || node.closest("[aria-disabled=true], :disabled, label:has(:disabled)")) continue;
      const style = getComputedStyle(node);
      const back = behind(node);
      const [a, b] = [light(over(parse(style.color), back)), light(back)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      texts += 1;
      if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${node.outerHTML.slice(0, 90)}`);
    }
    return { texts, faint };
  },

  // What a screen reader, or who has no mouse, would stumble over.
  faults() {
    const out = [];
    const all = (selector) => [...document.querySelectorAll(selector)];
    const tell = (what, found) => found.forEach((node) => out.push(`${what}: ${node.outerHTML.slice(0, 90)}`));
    const of = (id) => document.getElementById(id);
    const named = (node) =>
      node.ariaLabel || node.labels?.[0]?.textContent.trim() || node.textContent.trim() || of(node.getAttribute("aria-labelledby"))?.textContent.trim();
    const parts = "button, a, input, textarea, progress, audio, video, section, form, [role], [tabindex='0']";
    tell("no name", all(parts).filter((node) => node.checkVisibility() && !["status", "alert"].includes(node.role) && !named(node)));
    tell("no alt", all("img").filter((node) => !node.alt));
    tell("id twice", all("[id]").filter((node) => all(`[id="${node.id}"]`).length > 1));
    tell("label of nothing", all("label[for]").filter((node) => !of(node.htmlFor)));
    for (const name of ["aria-labelledby", "aria-describedby"])
      tell("points nowhere", all(`[${name}]`).filter((node) => node.getAttribute(name).split(" ").some((id) => !of(id))));
    tell("bare table", all("table").filter((node) => !node.caption || !node.querySelector("th[scope=col]")));
    tell("no legend", all("fieldset").filter((node) => !node.querySelector("legend")));
    tell("order forced", all("[tabindex]").filter((node) => node.tabIndex > 0));
    tell("scrolls by mouse only", all(".scroll").filter((node) => node.tabIndex !== 0));
    tell("hidden control", all("[aria-hidden=true]").filter((node) => node.querySelector("a, button, input, [tabindex]")));
    const levels = all("h1, h2, h3, h4").filter((node) => node.checkVisibility()).map((node) => Number(node.tagName[1]));
    levels.forEach((level, n) => level - (levels[n - 1] ?? 0) > 1 && out.push(`heading ${level} after ${levels[n - 1]}`));
    if (levels.filter((level) => level === 1).length !== 1 || all("main").length !== 1) out.push("not one h1 and one main");
    if (!document.documentElement.lang || !document.title) out.push("no language or no title");
    return out;
  },

  // Every target: labels with their full scores, in the order of the bars.
  scores() {
    const one = (item) => ({ label: item.querySelector(".label").textContent, score: Number(item.querySelector("data").value) });
    return [...document.querySelectorAll(".target")].map((target) => [...target.querySelectorAll(".bars li")].map(one));
  },
})
