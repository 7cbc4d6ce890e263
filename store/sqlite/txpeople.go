package sqlite

import (
	"errors"

	"behest/access"
)

var errNotYet = errors.New("not yet")

func (t *tx) User(id string) (access.User, error)              { return access.User{}, errNotYet }
func (t *tx) PutUser(u *access.User) error                     { return errNotYet }
func (t *tx) RemoveUser(id string) error                       { return errNotYet }
func (t *tx) Tokens(user string) ([]access.TokenRecord, error) { return nil, errNotYet }
func (t *tx) AddToken(r *access.TokenRecord) error             { return errNotYet }
func (t *tx) SaveToken(r access.TokenRecord) error             { return errNotYet }
