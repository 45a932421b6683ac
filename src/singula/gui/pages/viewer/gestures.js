// Pan, zoom and clicks with mouse, pen or fingers.
const CLICK = { mouse: 4, pen: 6, touch: 12 }; // largest movement of a click, in pixels

export class Gestures {
  // `viewer` has the methods panBy, zoomBy, pixel, hover and pick.
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    this.points = new Map();
    this.moved = 0;
    const listen = (name, handler) => canvas.addEventListener(name, handler.bind(this));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancel);
    listen("pointerleave", () => viewer.hover(null));
    // Two fingers zoom the image and not the page; a single finger scrolls the page (touch-action).
    const block = (event) => event.touches.length > 1 && event.cancelable && event.preventDefault();
    canvas.addEventListener("touchstart", block, { passive: false });
    canvas.addEventListener("touchmove", block, { passive: false });
  }

  at(event) {
    const place = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / Math.max(1, place.width);
    return [(event.clientX - place.left) * ratio, (event.clientY - place.top) * ratio];
  }

  down(event) {
    if (event.button > 0) return;
    this.points.set(event.pointerId, this.at(event));
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has already left, as in tests that dispatch events.
    }
    this.moved = this.points.size === 1 ? 0 : Infinity;
  }

  move(event) {
    const now = this.at(event);
    this.viewer.hover(this.viewer.pixel(now));
    const before = this.points.get(event.pointerId);
    if (!before) return;
    if (this.points.size === 2) {
      const other = [...this.points].find(([id]) => id !== event.pointerId)[1];
      this.pinch(before, now, other);
    } else {
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      this.moved += Math.abs(dx) + Math.abs(dy);
      const scrolls = event.pointerType === "touch" && this.viewer.fitted;
      if (this.moved > this.limit(event) && !scrolls) this.viewer.panBy(dx, dy);
    }
    this.points.set(event.pointerId, now);
  }

  pinch(before, now, other) {
    const length = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
    this.viewer.panBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    this.viewer.zoomBy(length(now) / Math.max(1, length(before)), middle);
  }

  limit(event) {
    return (CLICK[event.pointerType] || CLICK.mouse) * (window.devicePixelRatio || 1);
  }

  up(event) {
    const pixel = this.viewer.pixel(this.at(event));
    if (this.points.delete(event.pointerId) && !this.points.size) {
      if (this.moved <= this.limit(event)) this.viewer.pick(pixel);
    }
  }

  cancel(event) {
    this.points.delete(event.pointerId);
  }
}
