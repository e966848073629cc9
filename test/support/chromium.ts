import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const EXECUTABLE = process.env.ZEROPOINT_CHROMIUM ?? '/usr/bin/chromium';

/** True where Chromium is installed; where not, prints what is skipped and why. */
export function haveChromium(what: string): boolean {
  if (existsSync(EXECUTABLE)) return true;
  console.log(`skipped: ${what} (no ${EXECUTABLE}; install Debian's chromium, or set ZEROPOINT_CHROMIUM)`);
  return false;
}

/** Starts Chromium without a window, and without anything that would look for a network. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    timeout: 120_000,
  });
}
