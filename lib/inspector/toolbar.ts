/**
 * The badge of `request.target.toolbar()`: the overrides of this browser, with links to end them and to the inspector. In a
 * shadow tree, so that the page's styles and its own leave each other alone; as text only, and nothing that a strict
 * Content-Security-Policy forbids.
 */

/** The contents of the badge. */
export interface Badge {
  /** Overrides in words; none: a quiet badge. */
  overrides: string[]
  /** Address of the page in the inspector; undefined for browsers that may not see it. */
  inspect: string | undefined
}

const STYLE = `
:host { all: initial }
aside { position: fixed; z-index: 2147483647; left: 12px; bottom: 12px; display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; max-width: min(34rem, calc(100vw - 24px));
  box-sizing: border-box; padding: 7px 12px; border-radius: 10px; font: 13px/1.4 system-ui, sans-serif; color: #e9eef5; background: #16202cf2; border: 1px solid #ffffff2e; box-shadow: 0 3px 14px #0005 }
aside.on { background: #7a2a10f5 }
b { font-weight: 600; overflow-wrap: anywhere }
a { color: #ffd9a0; text-underline-offset: 2px }
a:focus-visible { outline: 2px solid #fff; outline-offset: 2px; border-radius: 2px }
@media print { aside { display: none } }`

/** Runs in the page: no `<`, so that it can stand in a script element of any document. */
const SHOW = `function(b){
var h=document.createElement('target-inspector'),r=h.attachShadow({mode:'open'}),s=new CSSStyleSheet(),a=document.createElement('aside');
function add(n,t,u){var e=document.createElement(n);e.textContent=t;if(u)e.href=u;a.append(e)}
s.replaceSync(b.style);r.adoptedStyleSheets=[s];
a.setAttribute('aria-label','Adobe Target inspector');
if(b.overrides.length){a.className='on';add('b','Overridden: '+b.overrides.join('; '));add('span','Nothing is counted.')}
else add('span','Adobe Target');
if(b.inspect)add('a','Inspect this page',b.inspect);
if(b.overrides.length)add('a','End overrides','?target_override=');
r.append(a);document.documentElement.append(h)
}`.replaceAll('\n', '')

/** The script element. */
export function badgeScript (badge: Badge, nonce: string | undefined): string {
  const data = JSON.stringify({ ...badge, style: STYLE }).replace(/[<>&'\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return `<script${nonce === undefined ? '' : ` nonce="${nonce}"`}>(${SHOW})(${data})</script>`
}
