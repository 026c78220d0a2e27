// Of every text that is seen within `root`: its contrast to what lies behind it, the lowest three first.
root => {
  const lightness = rgb => {
    const share = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
    const part = rgb.map(share);
    return .2126 * part[0] + .7152 * part[1] + .0722 * part[2];
  };
  const numbers = colour => (colour.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > .9) return found;
    }
    return [255, 255, 255];
  };
  const seen = [];
  const walker = document.createTreeWalker(document.querySelector(root || 'body'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('script, style, svg')) continue;
    const [one, other] = [numbers(getComputedStyle(element).color), behind(element)].map(lightness);
    const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    seen.push([Math.round(ratio * 100) / 100, text.slice(0, 40), element.className]);
  }
  return seen.sort((a, b) => a[0] - b[0]).slice(0, 3);
}
