"""Parts that the sections of a page are made of, as markup."""

from __future__ import annotations


def section(name: str, title: str, *parts: str, lead: str = "") -> str:
    """A part of the page with its heading; ``lead`` is a sentence of markup under it."""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    content = "".join(parts)
    return f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{title}</h2>{lead}{content}</section>'


def table(head: list[str], rows: list[list[str]], *, marked: int | None = None, caption: str = "") -> str:
    """A table that scrolls within itself; cells are markup, and the first of a row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f"<tr{' class=taken' if number == marked else ''}>"
        f'<th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for number, row in enumerate(rows)
    )
    title = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def card(picture: str, caption: str, title: str = "") -> str:
    """A picture with its title and what it says."""
    heading = f"<h3>{title}</h3>" if title else ""
    return f'<figure class="card">{heading}{picture}<figcaption>{caption}</figcaption></figure>'
