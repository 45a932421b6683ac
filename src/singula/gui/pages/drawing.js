// Layer over an image viewer on which outlines are drawn, and the first click of a tool is shown.
export default {
  template: `<span hidden></span>`,
  props: {
    viewer: Number, // id of the element of the viewer
    drawing: Boolean, // a drag draws an outline; otherwise, the viewer receives all events
    point: { type: Array, default: () => [] }, // first click [y, x]; empty for none
  },
  mounted() {
    this.path = [];
    this.seen = "";
    this.canvas = document.createElement("canvas");
    this.canvas.className = "drawing";
    this.canvas.setAttribute("aria-hidden", "true");
    const listen = (name, handler) => this.canvas.addEventListener(name, handler);
    listen("wheel", (event) => this.below()?.wheel(event));
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointercancel", this.cancel);
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
    down(event) {
      if (event.button > 0 || !this.below()) return;
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
    },
    paint() {
      const below = this.below();
      if (!below) return;
      const image = below.$refs.canvas;
      if (!this.canvas.isConnected) image.after(this.canvas);
      this.canvas.style.pointerEvents = this.drawing ? "auto" : "none";
      const { view, aspect = 1 } = below;
      const parts = [view, aspect, image.width, image.height, this.path.length, this.point];
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
