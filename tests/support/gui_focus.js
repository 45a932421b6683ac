// Return a fault if the focus is not marked, or if it is outside of the window or covered.
() => {
  const e = document.activeElement;
  if (e === document.body || e.closest('.q-dialog')) return '';
  const name = e.outerHTML.slice(0, 200);
  const style = getComputedStyle(e);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  const field = e.closest('.q-field--focused');
  const helper = e.querySelector(':scope > .q-focus-helper');
  const dimmed = helper && parseFloat(getComputedStyle(helper).opacity) > 0.1;
  if (!outlined && !style.boxShadow.includes('4px') && !field && !dimmed) return 'no mark: ' + name;
  const box = (field || e).getBoundingClientRect();
  const [left, right] = [Math.max(box.left, 0), Math.min(box.right, innerWidth)];
  const [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, innerHeight)];
  if (left >= right || top >= bottom) return 'outside of the window: ' + name;
  const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  const whole = field || e;
  const is_seen = over && (whole.contains(over) || over.contains(whole));
  return is_seen ? '' : 'covered: ' + name;
}
