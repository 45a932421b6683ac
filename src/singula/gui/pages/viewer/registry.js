// Viewers of the page that move together.
export const viewers = new Map();

export function moveOthers(viewer) {
  if (!viewer.group) return;
  for (const other of viewers.values()) {
    if (other !== viewer && other.group === viewer.group) other.follow(viewer);
  }
}
