// Disk errors: what the operating system refuses (a full disk, a lost mount, a missing right) is for an operator to
// fix. It is not a bug, and ends no process.

/** True for an error that a call of the operating system ended with. */
export const isOfDisk = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
