/** Paths in a share, as people type them. */

/** With its leading slash, which people leave out. */
export function sharePath(typed: string): string {
  return typed.startsWith('/') ? typed : `/${typed}`;
}
