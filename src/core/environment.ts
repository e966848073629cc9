/** True in Node (and compatible servers), false in browsers and workers. */
export const isNode: boolean = typeof process !== 'undefined' && process.versions?.node !== undefined;

/** An environment variable, or undefined where there is no environment. */
export function environmentVariable(name: string): string | undefined {
  return isNode ? process.env[name] : undefined;
}
