/* The live tail of a tenant: server-sent events of the listen process, newest first. */
(() => {
  "use strict";
  const SHOWN_EVENTS = 200, AGAIN_MS = 3000;
  const tail = document.querySelector("[data-tail]");
  if (!tail) return;
  const part = (name) => tail.querySelector(`[data-tail-${name}]`);
  const [list, status, empty, pause] = ["events", "status", "empty", "pause"].map(part);
  let isPaused = false, isLive = false, missed = 0;

  const say = (text, isBad = false) => {
    status.textContent = text;
    status.classList.toggle("fb-stale", isBad);
  };
  const live = () => {
    isLive = true;
    say(isPaused ? `Paused; ${missed} came meanwhile and are not shown.` : "Live.");
  };
  const trouble = (text) => {
    isLive = false;
    say(text, true);
  };

  const piece = (tag, className, text) => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const line = (event) => {
    const summary = document.createElement("summary");
    summary.append(
      piece("time", "fb-faint", (event.timestamp || "").slice(11, 23)), " ",
      piece("span", `fb-state fb-level-${event.level.toLowerCase()}`, event.level), " ",
      piece("b", "", event.source), " ",
      piece("span", "", event.message),
    );
    const details = document.createElement("details");
    details.append(summary, piece("pre", "fb-pre", JSON.stringify(event, null, 2)));
    const item = document.createElement("li");
    item.append(details);
    return item;
  };
  const show = (event) => {
    empty.hidden = true;
    list.prepend(line(event));
    while (list.children.length > SHOWN_EVENTS) list.lastElementChild.remove();
  };

  const begin = async () => {
    let answer;
    try {
      answer = await fetch(tail.dataset.tail, { headers: { Accept: "application/json" } });
    } catch {
      return later("The console does not answer.");
    }
    // A session that has ended answers with the login.
    if (new URL(answer.url).pathname.endsWith("/login/")) return location.reload();
    if (!answer.ok) return later(`The console has answered ${answer.status}.`);
    listen(new EventSource((await answer.json()).url));
  };
  const later = (text) => {
    trouble(`${text} The next try is in ${AGAIN_MS / 1000} s.`);
    setTimeout(begin, AGAIN_MS);
  };
  const listen = (source) => {
    source.addEventListener("open", live);
    source.addEventListener("message", ({ data }) => {
      if (isPaused) missed += 1;
      else show(JSON.parse(data));
      live();
    });
    source.addEventListener("skipped", ({ data }) => say(`${JSON.parse(data).events} events were skipped: they came faster than this page reads.`));
    source.addEventListener("wait", () => trouble("Redis is away, and the sample with it."));
    source.addEventListener("end", () => {
      isLive = false;
      source.close();
      begin();
    });
    source.addEventListener("error", () => {
      source.close();
      later(`The listen process does not answer at ${tail.dataset.listenUrl}.`);
    });
  };

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    missed = 0;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (isLive) live();
  });
  part("clear").addEventListener("click", () => {
    list.replaceChildren();
    empty.hidden = false;
  });
  say("Connecting…");
  begin();
})();
