// Layer over an image viewer on which outlines are drawn, by mouse, touch or keyboard, and on which
// the first click of a tool is shown.
const LABEL =
  "Outline: arrow keys move the cursor, Space sets a corner, Enter closes the outline, " +
  "Backspace removes a corner";
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const FAR = 10; // pixels of a step with Shift

export default {
  template: `<span hidden></span>`,
  props: {
    viewer: Number, // id of the element of the viewer
    drawing: Boolean, // a drag draws an outline; otherwise, the viewer receives all events
    point: { type: Array, default: () => [] }, // first click [y, x]; empty for none
  },
  watch: {
    drawing(value) {
      this.cancel();
      this.prepare();
      if (value) this.canvas.focus({ preventScroll: true });
    },
  },
  mounted() {
    this.path = [];
    this.cursor = undefined; // [y, x] of a pixel, after the first key
    this.seen = "";
    this.canvas = document.createElement("canvas");
    this.canvas.className = "drawing";
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", LABEL);
    this.prepare();
    const listen = (name, handler) => this.canvas.addEventListener(name, handler);
    listen("wheel", (event) => this.below()?.wheel(event));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancel);
    listen("keydown", this.key);
    const follow = () => {
      this.frame = requestAnimationFrame(follow);
      this.paint();
    };
    this.frame = requestAnimationFrame(follow);
  },
  unmounted() {
    cancelAnimationFrame(this.frame);
    this.canvas.remove();
  },
  methods: {
    // The viewer, or undefined until it has been mounted
    below() {
      const viewer = getElement(this.viewer);
      return viewer?.view ? viewer : undefined;
    },
    // Continuous coordinates of an image, in which the center of the first pixel is 0
    position(event) {
      const { view, aspect = 1 } = this.below();
      const place = this.canvas.getBoundingClientRect();
      const ratio = this.canvas.width / Math.max(1, place.width);
      const [cx, cy] = [(event.clientX - place.left) * ratio, (event.clientY - place.top) * ratio];
      return [(cy - view.y) / (view.scale * aspect) - 0.5, (cx - view.x) / view.scale - 0.5];
    },
    // Only a tool that needs an outline receives the focus.
    prepare() {
      this.canvas.tabIndex = this.drawing ? 0 : -1;
      this.canvas.ariaHidden = this.drawing ? null : "true";
    },
    key(event) {
      if (!this.below() || event.ctrlKey || event.altKey || event.metaKey) return;
      const actions = {
        " ": () => this.path.push([...this.cursor]),
        Enter: () => this.path.length > 2 && this.up(),
        Backspace: () => this.path.pop(),
        Escape: () => this.cancel(),
      };
      const step = STEPS[event.key];
      if (!step && !(event.key in actions)) {
        this.below().key(event); // zoom and slice
        return;
      }
      event.preventDefault();
      this.cursor = this.inView(this.cursor ?? this.middle());
      if (step) {
        const size = event.shiftKey ? FAR : 1;
        this.cursor = this.inView(this.cursor.map((value, axis) => value + size * step[axis]));
      } else {
        actions[event.key]();
      }
      this.canvas.dataset.cursor = this.cursor?.join() ?? "";
      this.canvas.dataset.corners = this.path.length;
    },
    // Pixel in the middle of the visible part
    middle() {
      const [[top, left], [bottom, right]] = this.visible();
      return [Math.round((top + bottom) / 2), Math.round((left + right) / 2)];
    },
    inView(position) {
      const [low, high] = this.visible();
      return position.map((value, axis) => Math.min(Math.max(value, low[axis]), high[axis]));
    },
    // First and last pixel of the image in the visible part
    visible() {
      const { view, aspect = 1, width, height: rows } = this.below();
      const height = view.scale * aspect;
      const first = [Math.ceil(-view.y / height - 0.5), Math.ceil(-view.x / view.scale - 0.5)];
      const last = [
        Math.floor((this.canvas.height - view.y) / height - 0.5),
        Math.floor((this.canvas.width - view.x) / view.scale - 0.5),
      ];
      return [
        first.map((value) => Math.max(0, value)),
        last.map((value, axis) => Math.min([rows, width][axis] - 1, value)),
      ];
    },
    down(event) {
      if (event.button > 0 || !this.below()) return;
      this.cursor = undefined;
      this.path = [this.position(event)];
      try {
        this.canvas.setPointerCapture(event.pointerId);
      } catch {
        // The pointer has already left.
      }
    },
    move(event) {
      if (this.path.length) this.path.push(this.position(event));
    },
    up() {
      const corners = this.path;
      this.path = [];
      if (corners.length > 2) this.$emit("outline", { corners });
    },
    cancel() {
      this.path = [];
      this.cursor = undefined;
    },
    paint() {
      const below = this.below();
      if (!below) return;
      const image = below.$refs.canvas;
      if (!this.canvas.isConnected) image.after(this.canvas);
      this.canvas.style.pointerEvents = this.drawing ? "auto" : "none";
      const { view, aspect = 1 } = below;
      const parts = [view, aspect, image.width, image.height, this.path.length, this.point, this.cursor];
      const state = JSON.stringify(parts);
      if (state === this.seen) return;
      this.seen = state;
      this.canvas.width = image.width;
      this.canvas.height = image.height;
      const context = this.canvas.getContext("2d");
      const at = ([row, column]) => [
        view.x + (column + 0.5) * view.scale,
        view.y + (row + 0.5) * view.scale * aspect,
      ];
      context.beginPath();
      this.path.forEach((corner) => context.lineTo(...at(corner)));
      if (this.path.length) context.closePath();
      if (this.cursor) {
        const [cx, cy] = at(this.cursor);
        context.moveTo(cx - 9, cy);
        context.lineTo(cx + 9, cy);
        context.moveTo(cx, cy - 9);
        context.lineTo(cx, cy + 9);
        for (const corner of this.path) {
          const [x, y] = at(corner);
          context.rect(x - 3, y - 3, 6, 6);
        }
      }
      if (this.point.length === 2) {
        const [cx, cy] = at(this.point);
        context.moveTo(cx + 7, cy);
        context.arc(cx, cy, 7, 0, 2 * Math.PI);
      }
      for (const [width, color] of [[5, "#000b"], [2.5, "#ffe14d"]]) {
        context.lineWidth = width;
        context.strokeStyle = color;
        context.stroke();
      }
    },
  },
};
