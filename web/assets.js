/** The folder that worker, runtime and kernels are served from, ending in a slash. */

// Not `new URL(".", import.meta.url)`, which bundlers take for a file to pack. The modules that
// use this are at different depths; this one, like the bundles that it becomes a part of, is at
// the top.
export const ASSETS = import.meta.url.replace(/[^/]*$/, "");
