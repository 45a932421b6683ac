// Marks over the image: box of the selected object, guides, center of the view, scale bar.
const MARK = "#ffe14d";
const STEPS = [1, 2, 5];

export function drawBox(context, { scale, x, y }, aspect, [top, left, bottom, right]) {
  const place = [
    x + left * scale - 4,
    y + top * scale * aspect - 4,
    (right - left) * scale + 8,
    (bottom - top) * scale * aspect + 8,
  ];
  context.lineWidth = 5;
  context.strokeStyle = "#000b";
  context.strokeRect(...place);
  context.lineWidth = 2.5;
  context.strokeStyle = MARK;
  context.strokeRect(...place);
}

export function drawGuides(context, { scale, x, y }, aspect, [row, column]) {
  const { width, height } = context.canvas;
  context.lineWidth = 1;
  context.strokeStyle = "#ffe14db0";
  context.beginPath();
  if (row !== null) {
    const level = y + (row + 0.5) * scale * aspect;
    context.moveTo(0, level);
    context.lineTo(width, level);
  }
  if (column !== null) {
    const position = x + (column + 0.5) * scale;
    context.moveTo(position, 0);
    context.lineTo(position, height);
  }
  context.stroke();
}

export function drawCenter(context) {
  const { width, height } = context.canvas;
  context.lineWidth = 1.5;
  context.strokeStyle = MARK;
  context.beginPath();
  for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(width / 2 + 4 * a, height / 2 + 4 * b);
    context.lineTo(width / 2 + 12 * a, height / 2 + 12 * b);
  }
  context.stroke();
}

// Returns the length of a scale bar: 1, 2 or 5 times a power of ten, at most `longest` units.
export function barLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  return Math.max(...STEPS.filter((step) => step * power <= longest * 1.0001)) * power;
}

// Draws a scale bar and returns its length in units and in pixels of the canvas.
export function drawScale(context, scale, pixel) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = context.canvas;
  const length = barLength((0.25 * width) / scale * pixel.size);
  const long = (length / pixel.size) * scale;
  const [left, top] = [width - long - 12 * ratio, height - 14 * ratio];
  context.fillStyle = "#000a";
  context.fillRect(left - 6 * ratio, top - 18 * ratio, long + 12 * ratio, 28 * ratio);
  context.fillStyle = "#fff";
  context.fillRect(left, top, long, 4 * ratio);
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(`${Number(length.toPrecision(6))} ${pixel.unit}`, left + long / 2, top - 5 * ratio);
  return { length, pixels: long };
}
