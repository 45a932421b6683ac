// Tiled image viewer of any size with zoom, pan and layers, by mouse, touch or keyboard.
const TILE = 512;
const MAX_TILES = 400;
const MAX_DELAY = 60; // milliseconds after which incomplete tiles are drawn

export default {
  template: `<div class="viewer">
    <canvas ref="canvas" tabindex="0" role="img" :aria-label="label"></canvas>
    <div class="viewer-bar">
      <button type="button" @click="zoomBy(1.5)" aria-label="Zoom in" title="Zoom in (+)">+</button>
      <button type="button" @click="zoomBy(1 / 1.5)" aria-label="Zoom out" title="Zoom out (−)">−</button>
      <button type="button" @click="fit()" aria-label="Show the whole image" title="Whole image (0)">⤢</button>
    </div>
    <div class="viewer-place" aria-hidden="true">{{ place }}</div>
  </div>`,
  props: {
    source: String,
    width: Number,
    height: Number,
    levels: Number,
    slice: Number,
    channel: Number,
    version: Number,
    layers: { type: Array, default: () => [] },
    box: Array,
    label: String,
  },
  data() {
    return { place: "" };
  },
  mounted() {
    this.tiles = new Map();
    this.awaited = 0;
    this.view = { scale: 1, x: 0, y: 0 };
    this.fitted = true;
    const canvas = this.$refs.canvas;
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.$el);
    canvas.addEventListener("wheel", this.wheel, { passive: false });
    canvas.addEventListener("pointerdown", this.down);
    canvas.addEventListener("pointermove", this.move);
    canvas.addEventListener("pointerup", this.up);
    canvas.addEventListener("pointercancel", () => (this.held = null));
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", this.key);
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    this.resized();
  },
  unmounted() {
    this.observer.disconnect();
  },
  watch: {
    source() {
      this.tiles.clear();
      this.fitted = true;
      this.fit();
    },
    slice() {
      this.draw();
    },
    channel() {
      this.draw();
    },
    version() {
      this.draw();
    },
    layers: {
      deep: true,
      handler() {
        this.draw();
      },
    },
    box() {
      this.draw();
    },
  },
  methods: {
    resized() {
      const canvas = this.$refs.canvas;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(this.$el.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(this.$el.clientHeight * ratio));
      if (this.fitted) this.fit();
      else this.draw();
    },
    fit() {
      if (!this.source) return;
      const canvas = this.$refs.canvas;
      const scale = Math.min(canvas.width / this.width, canvas.height / this.height) * 0.98;
      this.view = {
        scale,
        x: (canvas.width - this.width * scale) / 2,
        y: (canvas.height - this.height * scale) / 2,
      };
      this.fitted = true;
      this.draw();
    },
    center(y, x, size) {
      const canvas = this.$refs.canvas;
      const preferred = (0.25 * Math.min(canvas.width, canvas.height)) / Math.max(size, 4);
      const scale = this.limited(Math.max(this.view.scale, Math.min(preferred, 16)));
      this.view = { scale, x: canvas.width / 2 - x * scale, y: canvas.height / 2 - y * scale };
      this.fitted = false;
      this.draw();
    },
    limited(scale) {
      const canvas = this.$refs.canvas;
      const whole = Math.min(canvas.width / this.width, canvas.height / this.height);
      return Math.min(Math.max(scale, whole * 0.5), 64);
    },
    zoomBy(factor, at) {
      const canvas = this.$refs.canvas;
      const [cx, cy] = at || [canvas.width / 2, canvas.height / 2];
      const scale = this.limited(this.view.scale * factor);
      const real = scale / this.view.scale;
      this.view = {
        scale,
        x: cx - (cx - this.view.x) * real,
        y: cy - (cy - this.view.y) * real,
      };
      this.fitted = false;
      this.draw();
    },
    panBy(dx, dy) {
      this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
      this.fitted = false;
      this.draw();
    },
    at(event) {
      const canvas = this.$refs.canvas;
      const place = canvas.getBoundingClientRect();
      const ratio = canvas.width / Math.max(1, place.width);
      return [(event.clientX - place.left) * ratio, (event.clientY - place.top) * ratio];
    },
    pixel([cx, cy]) {
      return [
        Math.floor((cy - this.view.y) / this.view.scale),
        Math.floor((cx - this.view.x) / this.view.scale),
      ];
    },
    wheel(event) {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), this.at(event));
    },
    down(event) {
      this.$refs.canvas.setPointerCapture(event.pointerId);
      this.held = { at: this.at(event), far: 0 };
    },
    move(event) {
      const now = this.at(event);
      const [y, x] = this.pixel(now);
      const inside = y >= 0 && x >= 0 && y < this.height && x < this.width;
      this.place = inside ? `y ${y}  x ${x}` : "";
      if (!this.held) return;
      const dx = now[0] - this.held.at[0];
      const dy = now[1] - this.held.at[1];
      this.held = { at: now, far: this.held.far + Math.abs(dx) + Math.abs(dy) };
      if (this.held.far > 4) this.panBy(dx, dy);
    },
    up(event) {
      if (this.held && this.held.far <= 4) this.pick(this.pixel(this.at(event)));
      this.held = null;
    },
    pick([y, x]) {
      this.$emit("pick", { y, x });
    },
    key(event) {
      const canvas = this.$refs.canvas;
      const step = Math.min(canvas.width, canvas.height) / 8;
      const actions = {
        ArrowLeft: () => this.panBy(step, 0),
        ArrowRight: () => this.panBy(-step, 0),
        ArrowUp: () => this.panBy(0, step),
        ArrowDown: () => this.panBy(0, -step),
        "+": () => this.zoomBy(1.25),
        "=": () => this.zoomBy(1.25),
        "-": () => this.zoomBy(0.8),
        0: () => this.fit(),
        Home: () => this.fit(),
        PageUp: () => this.$emit("step", 1),
        PageDown: () => this.$emit("step", -1),
        Enter: () => this.pick(this.pixel([canvas.width / 2, canvas.height / 2])),
      };
      if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in actions)) return;
      event.preventDefault();
      actions[event.key]();
    },
    tile(layer, version, level, row, column) {
      const channel = layer === "image" ? this.channel : -1;
      const name = `${layer}/${this.slice}/${level}/${row}/${column}/${channel}`;
      const key = `${version}/${name}`;
      let tile = this.tiles.get(key);
      if (!tile) {
        const image = new Image();
        tile = { image, name, ready: false };
        const arrived = (ready) => {
          tile.ready = ready;
          if (ready) this.latest.set(name, tile);
          this.awaited -= 1;
          // Drawing is expensive: draw once for all tiles, unless some are late.
          if (this.awaited === 0) this.draw();
          else this.late = this.late || setTimeout(() => this.draw(), MAX_DELAY);
        };
        this.awaited += 1;
        image.src = `${this.source}/${key}`;
        // decode() runs outside of the main thread.
        image.decode().then(() => arrived(true), () => arrived(false));
        this.tiles.set(key, tile);
        if (this.tiles.size > MAX_TILES) this.tiles.delete(this.tiles.keys().next().value);
      }
      return tile;
    },
    draw() {
      if (this.waiting || !this.view || !this.source) return;
      this.waiting = true;
      clearTimeout(this.late);
      this.late = 0;
      requestAnimationFrame(() => {
        this.waiting = false;
        if (this.$refs.canvas) this.paint();
      });
    },
    paint() {
      this.latest = this.latest || new Map();
      const canvas = this.$refs.canvas;
      const context = canvas.getContext("2d");
      const { scale, x, y } = this.view;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingEnabled = scale < 1;
      const level = Math.min(this.levels - 1, Math.max(0, Math.floor(Math.log2(1 / scale) + 0.01)));
      const side = TILE * 2 ** level;
      const columns = [Math.max(0, Math.floor(-x / scale / side)), Math.ceil(Math.min(this.width, (canvas.width - x) / scale) / side)];
      const rows = [Math.max(0, Math.floor(-y / scale / side)), Math.ceil(Math.min(this.height, (canvas.height - y) / scale) / side)];
      let complete = true;
      for (const layer of this.layers) {
        if (!layer.shown) continue;
        context.globalAlpha = layer.opacity;
        const version = layer.name === "image" ? 0 : this.version;
        for (let row = rows[0]; row < rows[1]; row++) {
          for (let column = columns[0]; column < columns[1]; column++) {
            let tile = this.tile(layer.name, version, level, row, column);
            if (!tile.ready) {
              complete = false;
              // Draw the previous version in the meantime, to avoid flickering.
              tile = this.latest.get(tile.name);
            }
            if (!tile || !tile.ready) continue;
            const left = Math.round(x + column * side * scale);
            const top = Math.round(y + row * side * scale);
            const wide = tile.image.naturalWidth * 2 ** level;
            const high = tile.image.naturalHeight * 2 ** level;
            const right = Math.round(x + Math.min(this.width, column * side + wide) * scale);
            const bottom = Math.round(y + Math.min(this.height, row * side + high) * scale);
            context.drawImage(tile.image, left, top, right - left, bottom - top);
          }
        }
      }
      context.globalAlpha = 1;
      this.mark(context);
      if (complete) canvas.dataset.drawn = `${this.version}/${this.slice}`;
    },
    mark(context) {
      const { scale, x, y } = this.view;
      if (this.box && this.box.length === 4) {
        const [top, left, bottom, right] = this.box;
        const place = [x + left * scale - 4, y + top * scale - 4, (right - left) * scale + 8, (bottom - top) * scale + 8];
        context.lineWidth = 5;
        context.strokeStyle = "#000b";
        context.strokeRect(...place);
        context.lineWidth = 2.5;
        context.strokeStyle = "#ffe14d";
        context.strokeRect(...place);
      }
      const canvas = this.$refs.canvas;
      if (canvas.matches(":focus-visible")) {
        const [cx, cy] = [canvas.width / 2, canvas.height / 2];
        context.lineWidth = 1.5;
        context.strokeStyle = "#ffe14d";
        context.beginPath();
        for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(cx + 4 * a, cy + 4 * b);
          context.lineTo(cx + 12 * a, cy + 12 * b);
        }
        context.stroke();
      }
    },
  },
};
