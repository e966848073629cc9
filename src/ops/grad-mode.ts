let enabled = true;

/** True where operations on tensors that require gradients are being recorded. Source: `torch.is_grad_enabled`. */
export function isGradEnabled(): boolean {
  return enabled;
}

/**
 * Runs `body` without recording gradients, and returns what it returns. Source: `torch.no_grad`.
 *
 * @example
 * const logits = noGrad(() => model(x));
 */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body);
}

/** Runs `body` with recording switched on, inside a {@link noGrad}. Source: `torch.enable_grad`. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body);
}

function withGradMode<T>(mode: boolean, body: () => T): T {
  const before = enabled;
  enabled = mode;
  try {
    return body();
  } finally {
    enabled = before;
  }
}
