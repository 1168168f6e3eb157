"""A bounded amount, shared out so that no customer takes it from the others."""


class Shares:
    """An amount of which one customer may hold no more than is left for all others.

    One customer can hold half of it. A second one finds the other half, and as both give back and take again, each
    comes to hold a third, of three a quarter, and so on: something is left for one more. (In switches, this is the
    dynamic threshold of Choudhury and Hahne, 1998.)
    """

    def __init__(self, amount: int, max_each: int | None = None) -> None:
        """Create it, with nothing taken.

        Args:
            amount: how much there is, of whatever is counted.
            max_each: how much one customer may hold at most, if that is less than half.
        """
        self._free = amount
        self._max_each = amount if max_each is None else max_each
        self._held: dict[str, int] = {}

    @property
    def free(self) -> int:
        """How much nobody holds."""
        return self._free

    def take(self, customer: str, amount: int = 1) -> bool:
        """Give `customer` an amount, and return whether there is so much for it."""
        held = self._held.get(customer, 0) + amount
        free = self._free - amount
        if held > min(free, self._max_each):
            return False
        self._held[customer] = held
        self._free = free
        return True

    def give_back(self, customer: str, amount: int = 1) -> None:
        """Take back an amount that was given to `customer`."""
        self._free += amount
        held = self._held.get(customer, 0) - amount
        if held:
            self._held[customer] = held
        else:
            self._held.pop(customer, None)
