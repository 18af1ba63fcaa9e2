// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// JudgePods has the API server judge the pods of the operator's Deployment, as nothing here runs any. The error says that they have not its
// ServiceAccount, that their namespace does not enforce the restricted Pod Security Standard, or that they do not meet it.
func (w *World) JudgePods(ctx context.Context) error {
	deployment := &appsv1.Deployment{}
	if err := w.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorServiceAccount}, deployment); err != nil {
		return err
	}
	pod := deployment.Spec.Template.Spec
	account := client.ObjectKey{Namespace: operatorNamespace, Name: pod.ServiceAccountName}
	if err := w.Get(ctx, account, &corev1.ServiceAccount{}); err != nil || account.Name != operatorServiceAccount {
		return errors.Join(fmt.Errorf("the pods run as %q", account.Name), err)
	}
	for what, loosen := range map[string]func(*corev1.PodSpec){
		"runAsNonRoot": func(pod *corev1.PodSpec) { pod.SecurityContext.RunAsNonRoot = nil },
		"capabilities": func(pod *corev1.PodSpec) { pod.Containers[0].SecurityContext.Capabilities = nil },
	} {
		looser := *pod.DeepCopy()
		loosen(&looser)
		err := await(ctx, func(ctx context.Context) (bool, error) { // it learns of the namespace's label a moment later
			err := w.judgePod(ctx, looser)
			return err != nil && strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) && strings.Contains(err.Error(), what), err
		})
		if err != nil {
			return fmt.Errorf("namespace %s does not enforce the restricted Pod Security Standard: a pod with no %s: %w", operatorNamespace, what, err)
		}
	}
	return w.judgePod(ctx, pod)
}

// judgePod says why the API server does not take a pod in the operator's namespace. It stores none.
func (w *World) judgePod(ctx context.Context, spec corev1.PodSpec) error {
	return w.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "judged"}, Spec: spec}, client.DryRunAll)
}
