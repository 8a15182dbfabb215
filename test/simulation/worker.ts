// Worker: a process of `npm run simulate` that runs the cases that it is sent, one after the other, and ends with whoever
// sends them.

import { type Asked, outcomeOf } from './outcome.ts';

process.on('message', (asked) => {
  void outcomeOf(asked as Asked).then((outcome) => process.send!(outcome));
});
process.on('disconnect', () => process.exit());
