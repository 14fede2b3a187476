// Serves directories to a browser, each under a path.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".map": "application/json",
  ".css": "text/css",
};

// `places` is {path: directory}, paths with a slash at both ends; `pages` is {path: HTML}; `edit` changes
// the text of scripts.
export async function serve(places, pages = {}, edit = (text) => text) {
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://here").pathname);
    if (pages[path] !== undefined) {
      return response.writeHead(200, { "content-type": "text/html" }).end(pages[path]);
    }
    const place = Object.keys(places).find((place) => path.startsWith(place));
    try {
      const name = path.endsWith("/") ? `${path}index.html` : path;
      const file = join(places[place], normalize(name.slice(place.length)));
      const content = await readFile(file);
      const body = extname(file) === ".js" ? edit(content.toString()) : content;
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "text/plain" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
