"The table of what was tried, survived and lost."
import time
from collections import Counter


def show(tried:Counter, lost:list, start:float)->int:
    "Print each loss (family, why), then a line a family; returns whether anything was lost."
    for family, why in lost: print(f'LOST {family}: {why}')
    gone = Counter(family for family, _ in lost)
    print(f"\n{'':32}{'tried':>8}{'survived':>10}{'lost':>6}")
    for family, n in tried.items(): print(f'{family:32}{n:8}{n - gone[family]:10}{gone[family]:6}')
    n = tried.total()
    print(f"{'all':32}{n:8}{n - len(lost):10}{len(lost):6}\n{time.monotonic() - start:.0f} s")
    return len(lost) > 0
