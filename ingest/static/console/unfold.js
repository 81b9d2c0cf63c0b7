/* What django-unfold's pages lack for this console: they run on Alpine's CSP build, by keyboard, and follow the system
   from light to dark. The CSP build (static/unfold/js/alpine) compiles nothing: it reads one expression an attribute,
   without statements, arrow functions or template literals, and sees no globals. Follows unfold 0.91 (Python 3.11) and
   0.110 (newer ones); tests/unit/console/test_unfold_alpine.py fails when another release writes other attributes. */
(() => {
  "use strict";

  // Attributes that the CSP build cannot read -> the same in what it can. An array is its sequence of expressions.
  const REWRITTEN = [
    // 0.91's watcher keeps what its only button keeps too.
    [/^(activeTab = [^;]*);.*$/, "$1"],
    [/^if \((!\$event\.metaKey && !\$event\.ctrlKey)\) (selectItem\(.*\))$/, "$1 && $2"],
    [/^if \((!\$event\.target\.closest\('a'\))\) \{ (openUserLinks = !openUserLinks) \}$/, "$1 && ($2)"],
    [/^if \(resizing\) \{ sidebarWidth = .* \}$/, "resizing && (sidebarWidth = widthUpTo($event.clientX, min, max))"],
    [/^`width: \$\{sidebarWidth\}px`$/, "'width: ' + sidebarWidth + 'px'"],
    [/^(openSearchResults|sidebarDesktopOpen)( = [^;]+); ([^;]+);?$/, "[$1$2, $3]"],
  ];

  // The globals that unfold's attributes name, as values of the page's outermost component. Wrapped: the CSP build
  // refuses whatever is a global itself.
  const globals = () => ({
    localStorage: {
      getItem: (name) => localStorage.getItem(name),
      setItem: (name, value) => localStorage.setItem(name, value),
    },
    window: { location: { pathname: location.pathname, search: location.search } },
    getCurrentTab: () => getCurrentTab(),
    moveRecords: (event) => moveRecords(event),
    sortRecords: (event) => sortRecords(event),
    widthUpTo: (x, least, most) => {
      const right = document.getElementById("nav-sidebar").getBoundingClientRect().right;
      const width = Math.min(most, Math.max(least, document.dir === "rtl" ? right - x : x));
      localStorage.setItem("sidebarWidth", width);
      return width;
    },
  });

  const SYSTEM_DARK = matchMedia("(prefers-color-scheme: dark)");
  SYSTEM_DARK.addEventListener("change", (event) => {
    Alpine.$data(document.documentElement).isSystemDark = event.matches;
  });

  document.addEventListener("alpine:init", () => {
    Alpine.mapAttributes(({ name, value }) => {
      if (typeof value !== "string" || !/^(x-|@|:)/.test(name)) return { name, value };
      const flat = value.replace(/\s+/g, " ").trim();
      const rule = REWRITTEN.find(([pattern]) => pattern.test(flat));
      return { name, value: rule ? flat.replace(...rule) : value };
    });
    Alpine.data("theme", (...how) => {
      const { themeBindings, ...theirs } = theme(...how);
      const classOf = themeBindings["x-bind:class"];
      // unfold asks the system for its theme only once a page.
      themeBindings["x-bind:class"] = function () {
        return classOf.call(this, this.isSystemDark);
      };
      // A page that grows by a line is no window that was resized: 0.110 would close the sidebar.
      const resized = themeBindings["x-resize.window"];
      let width;
      if (resized) {
        themeBindings["x-resize.window"] = function () {
          if (width !== innerWidth) resized.call(this);
          width = innerWidth;
        };
      }
      return { ...globals(), ...theirs, themeBindings, isSystemDark: SYSTEM_DARK.matches };
    });
    for (const name of ["searchForm", "searchDropdown", "searchCommand"]) {
      if (window[name]) Alpine.data(name, window[name]);
    }
  });

  // What unfold lets only a mouse press becomes a button for the keyboard and for screen readers; icons get a name.
  const NAMES = { dock_to_right: "Menu", close: "Close the menu", more_vert: "More", more_horiz: "More" };
  const PRESSABLE = "[x-on\\:click]:not(button, a[href], input, label, [role])";
  const makePressable = (root) => {
    for (const found of root.querySelectorAll(PRESSABLE)) {
      const text = found.textContent.trim();
      if (!text) continue; // what lies behind a sheet and closes it: Escape does that
      found.setAttribute("role", "button");
      found.setAttribute("tabindex", "0");
      if (NAMES[text]) found.setAttribute("aria-label", NAMES[text]);
    }
  };
  // select2 names its boxes after the value in them, which may be none.
  const nameBoxes = () => {
    for (const box of document.querySelectorAll(".select2-selection")) {
      const label = document.querySelector(`label[for="${box.closest(".select2").previousElementSibling?.id}"]`);
      for (const named of label ? [box, ...box.querySelectorAll("[role=textbox]")] : []) {
        named.setAttribute("aria-label", label.textContent.trim());
        named.removeAttribute("aria-labelledby");
      }
    }
  };
  window.addEventListener("load", () => window.django?.jQuery?.(nameBoxes)); // after those that make the boxes
  document.addEventListener("formset:added", nameBoxes);
  document.addEventListener("alpine:initialized", () => makePressable(document));
  document.addEventListener("htmx:load", (event) => makePressable(event.target));
  document.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches("[role=button][x-on\\:click]")) {
      event.preventDefault();
      event.target.click();
    }
  });
})();
