// The events of the server. The browser connects again by itself; where it gives up, or nothing is heard, we do.

const SILENCE = 5000;
const AGAIN = 1000;
const REFUSED = 5000;

// `on` has what to do with each `snapshot` and `past`, and with `state`: "live" or "lost".
export const follow = (on) => {
  let source;
  let timer;

  const wait = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      on.state("lost");
      connect();
    }, delay);
  };

  const heard = () => {
    on.state("live");
    wait(SILENCE);
  };

  const connect = () => {
    source?.close();
    source = new EventSource("/events");
    for (const name of ["past", "snapshot", "heartbeat"]) {
      source.addEventListener(name, (event) => {
        heard();
        on[name]?.(JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      on.state("lost");
      wait(source.readyState === EventSource.CLOSED ? REFUSED : SILENCE);
    });
    wait(SILENCE);
  };

  connect();
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => event.persisted && wait(AGAIN));
};
