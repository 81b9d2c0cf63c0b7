/* The page of the database's absence: asks again, shows the workers' health anew, and goes on once the database is back. */
(() => {
  "use strict";
  const health = document.getElementById("health");
  const again = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status !== 503) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      health.innerHTML = page.getElementById("health").innerHTML;
    } catch {
      // The server does not answer either: what is shown stays, and is asked for again.
    }
  };
  setInterval(again, health.dataset.askAgainS * 1000);
})();
