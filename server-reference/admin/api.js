// The REST interface of the server that has served this page. The token is kept for this tab alone, and goes
// nowhere but into the header of requests.

const KEY = "tidings.admin.token";
const base = new URL("../api/", location.href);

export const token = () => sessionStorage.getItem(KEY);
export const setToken = (value) => sessionStorage.setItem(KEY, value);
export const forgetToken = () => sessionStorage.removeItem(KEY);

// The server has said no, or could not be reached (`status` 0). The message is a sentence for people.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }

  // Another token could help.
  get isDenied() {
    return this.status === 401 || this.status === 403;
  }
}

async function problem(response) {
  try {
    const { detail, title } = await response.json();
    return new ApiError(response.status, detail ?? title);
  } catch {
    return new ApiError(response.status, `The server answered ${response.status}.`);
  }
}

// A request; gives the response if it went well.
export async function request(path, { method = "GET", query = {}, body, headers = {}, signal } = {}) {
  const url = new URL(path, base);
  for (const [name, values] of Object.entries(query)) {
    for (const value of [values].flat()) {
      if (value !== undefined && value !== "") url.searchParams.append(name, value);
    }
  }
  const sent = { ...headers };
  if (token()) sent.Authorization = `Bearer ${token()}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, body, headers: sent, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

// The same; gives what the response says, if it says anything.
export async function call(path, options) {
  const response = await request(path, options);
  return response.status === 204 || response.status === 202 ? undefined : response.json();
}
