// A browser opens six connections to a server at most (HTTP/1.1): streams leave some of them to everything else.
const MOST_STREAMS = 4;
const waiting = [];
let free = MOST_STREAMS;

export async function turn() {
  // Wait for one; returns what gives it back.
  if (free) free -= 1;
  else await new Promise((resolve) => waiting.push(resolve));
  return () => {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  };
}
