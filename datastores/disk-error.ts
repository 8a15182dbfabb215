// Disk errors: what the operating system refuses (a full disk, a lost mount, a missing permission) is for an operator
// to fix. It is not a bug, and does not end the process.

/** True for an error returned by a call of the operating system. */
export const isOfDisk = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
