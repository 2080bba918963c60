/* Talking with the server: JSON, the token against forged requests, and patience while the connection is lost. */
{
  const WAITS = [0.4, 0.8, 1.6, 3, 6, 12]; // seconds before the next try
  const LONGEST = 20; // seconds for one try

  /** What the server says about a request that it refuses. Status 0: it wasn't reached. */
  class ServerError extends Error {
    constructor(status, message, told = {}) {
      super(message);
      Object.assign(this, { status, told });
    }

    /** Whether the same request may succeed later. */
    get passing() {
      return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
    }
  }

  /** A promise that is kept after some seconds, or as soon as the browser is online again. */
  function pause(seconds) {
    return new Promise((done) => {
      const end = () => (clearTimeout(timer), removeEventListener("online", end), done());
      const timer = setTimeout(end, seconds * 1000);
      addEventListener("online", end);
    });
  }

  /** An id that nobody else makes: a UUID, also on pages without TLS, where `randomUUID` is missing. */
  function newId() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }

  /** The server of this page. `reached(yes)` is called when the connection is lost or comes back. */
  class Server {
    constructor({ reached = () => {} } = {}) {
      this.csrf = "";
      this.tell = reached;
      this.online = true;
    }

    /** JSON from a path. It tries again until the server answers, unless `once`. */
    get(path, options = {}) {
      return this.#patient(() => this.#ask(path, {}), options);
    }

    /** Send JSON to a path. Only what may arrive twice is sent again; `once` sends it a single time. */
    post(path, body, options = {}) {
      return this.#patient(() => this.#ask(path, this.#posted(body, options.keepalive)), options);
    }

    #posted(body, keepalive = false) {
      const text = JSON.stringify(body);
      const headers = { "Content-Type": "application/json", "X-Variorum-Csrf": this.csrf };
      // a request that outlives the page may have 64 kB
      return { method: "POST", body: text, headers, keepalive: keepalive && text.length < 30000 };
    }

    async #patient(work, { once = false } = {}) {
      let renewed = false;
      for (let tried = 0; ; tried++) {
        try {
          return await work();
        } catch (error) {
          if (error.status === 403 && this.csrf && !renewed) {
            renewed = true; // the token may be an old one
            await this.renew();
          } else if (once || !error.passing) throw error;
          else await pause(WAITS[Math.min(tried, WAITS.length - 1)]);
        }
      }
    }

    /** Ask for a new token. What belongs to one person isn't sent for another one, who has joined in another tab. */
    async renew() {
      const { csrf, reviewer } = await this.#ask("/api/me", {});
      if (reviewer !== this.reviewer) throw new ServerError(401, "Somebody else has joined in another tab: reload.");
      this.csrf = csrf;
    }

    async #ask(path, options) {
      let answer;
      try {
        answer = await fetch(path, {
          credentials: "same-origin",
          cache: "no-store",
          redirect: "error",
          signal: AbortSignal.timeout(LONGEST * 1000),
          ...options,
        });
      } catch {
        this.#reached(false);
        throw new ServerError(0, "The server can't be reached.");
      }
      let told = null;
      try {
        told = await answer.json();
      } catch {
        if (answer.ok) throw new ServerError(0, "The server's answer broke off.");
      }
      this.#reached(answer.ok || answer.status < 500);
      if (!answer.ok)
        throw new ServerError(answer.status, told?.error ?? `The server answered with status ${answer.status}.`, told ?? {});
      return told;
    }

    #reached(yes) {
      if (yes === this.online) return;
      this.online = yes;
      this.tell(yes);
    }
  }

  Object.assign(Variorum, { Server, ServerError, newId, pause });
}
