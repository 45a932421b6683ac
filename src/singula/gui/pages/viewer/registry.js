// Viewers of the page, so that other scripts can add tools, and views that move together.
//
// A tool is an object with some of the methods down(pixel, event), move, up, hover, cancel(),
// key(event) and paint(context, view). A pixel is [y, x] with fractions. A tool whose `down`
// returns true gets the movement instead of the view. Add it to `tools` of a viewer.
export const viewers = new Map();

export function moveOthers(viewer) {
  if (!viewer.group) return;
  for (const other of viewers.values()) {
    if (other !== viewer && other.group === viewer.group) other.follow(viewer);
  }
}
