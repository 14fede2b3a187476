// The system's Chromium, driven by Playwright.
import { execFileSync } from "node:child_process";
import { chromium } from "playwright-core";

// Where it is; CHROMIUM says it where it has another name.
export function executable() {
  for (const name of [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"]) {
    try {
      if (name) return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error("Chromium is missing: apt install chromium, or set CHROMIUM to where it is");
}

export const launch = (options = {}) =>
  chromium.launch({
    executablePath: executable(),
    ...options,
    args: ["--no-sandbox", ...(options.args ?? [])],
  });

// A page whose errors end up in `errors`.
export async function open(context, url) {
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error));
  page.on("crash", () => page.errors.push(new Error("the page has crashed")));
  await page.goto(url);
  return page;
}
