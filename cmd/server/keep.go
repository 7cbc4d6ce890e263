package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// How long what is over can be kept.
const (
	keepForEver = "forever"
	keepMin     = 24 * time.Hour // a slip of the unit must not empty a store
	keepMinDev  = time.Second    // development has nothing to lose
	keepDaysMax = 36_500         // further than anybody's archive, and no duration overflows
)

// keepFor reads --keep: a number of days as in 90d, a duration as Go writes it,
// or forever, which is 0.
func keepFor(text string, dev bool) (time.Duration, error) {
	if text == keepForEver {
		return 0, nil
	}
	keep, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		if n > keepDaysMax {
			return 0, fmt.Errorf("keep: %s is over %d days; forever is a word, too", text, keepDaysMax)
		}
		keep = time.Duration(n) * 24 * time.Hour
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("keep: %q is no number of days like 90d, no duration like 720h, and not forever", text)
	case keep < keepMinDev:
		return 0, errors.New("keep: less than a second is nothing")
	case keep < keepMin && !dev:
		return 0, fmt.Errorf("keep: %s is under a day, which development mode alone takes", text)
	}
	return keep, nil
}
